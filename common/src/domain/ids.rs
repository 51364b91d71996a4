//! Row ids: `UUIDv7` in the database and in job payloads, prefixed at the edge (`usr_` and 32 lower-case hex digits).
//!
//! One type a row kind, so that a payment's id cannot be passed where an account's is wanted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not the prefixed form of the id asked for. The text itself is left out: it comes from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix} and 32 lower-case hex digits")]
pub struct InvalidId {
    /// The prefix that was expected.
    pub prefix: &'static str,
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// What the edge form starts with.
            pub const PREFIX: &'static str = $prefix;

            /// A new id: `UUIDv7`, so that ids made later sort later and fresh rows lie together in the index.
            #[expect(clippy::new_without_default, reason = "a default that differs at each call would surprise")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The bare UUID, as the database has it.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $prefix, self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Reads exactly the form that `Display` writes; a bare UUID, dashes or capitals are refused.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_prefixed(text, $prefix).map(Self)
            }
        }
    };
}

typed_id!(
    /// A person who has logged in with `BankID`.
    UserId, "usr_"
);
typed_id!(
    /// A Drop session; `sid` in the access token.
    SessionId, "ses_"
);
typed_id!(
    /// One login attempt, from the redirect to `BankID` to its outcome.
    LoginId, "lgn_"
);
typed_id!(
    /// A payment; the contract's `transactions.id`.
    PaymentId, "tx_"
);
typed_id!(
    /// A linked bank account.
    AccountId, "acc_"
);
typed_id!(
    /// A consent to read a bank's accounts.
    ConsentId, "con_"
);
typed_id!(
    /// Our row for an applicant at Sumsub; the provider's own id is an opaque text.
    KycApplicantId, "kyc_"
);
typed_id!(
    /// A notification shown to a user.
    NotificationId, "ntf_"
);
typed_id!(
    /// A webhook in the inbox.
    WebhookEventId, "evt_"
);
typed_id!(
    /// A user's own request to refresh a balance.
    RefreshId, "ref_"
);
typed_id!(
    /// A wish for a token of Sumsub's SDK.
    SdkTokenId, "sdk_"
);
typed_id!(
    /// A refusal that a compliance officer looks at.
    AmlCaseId, "aml_"
);

fn parse_prefixed(text: &str, prefix: &'static str) -> Result<Uuid, InvalidId> {
    let invalid = InvalidId { prefix };
    let hex = text.strip_prefix(prefix).ok_or(invalid)?;
    // The parser of the uuid crate also takes dashes, braces and capitals; an id has one spelling here.
    if hex.len() != 32 || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(invalid);
    }
    Uuid::try_parse(hex).map_err(|_| invalid)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const HEX: &str = "0192f0c1a2b37c4d8e5f60718293a4b5";

    #[test]
    fn an_id_is_written_with_its_prefix_and_plain_hex() {
        let id = UserId::from(Uuid::try_parse(HEX).unwrap());
        assert_eq!(id.to_string(), format!("usr_{HEX}"));
        assert_eq!(format!("{id:?}"), format!("usr_{HEX}"));
    }

    #[test]
    fn an_id_travels_in_json_as_a_plain_uuid() {
        let id = PaymentId::from(Uuid::try_parse(HEX).unwrap());
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"0192f0c1-a2b3-7c4d-8e5f-60718293a4b5\"");
        assert_eq!(serde_json::from_str::<PaymentId>(&json).unwrap(), id);
    }

    #[test]
    fn new_ids_are_version_seven_and_sort_by_age() {
        let (first, second) = (AccountId::new(), AccountId::new());
        assert_eq!(first.uuid().get_version_num(), 7);
        assert!(first < second);
    }

    #[rstest]
    #[case::bare(HEX.to_owned())]
    #[case::other_prefix(format!("acc_{HEX}"))]
    #[case::capital_hex(format!("usr_{}", HEX.to_uppercase()))]
    #[case::capital_prefix(format!("USR_{HEX}"))]
    #[case::dashes("usr_0192f0c1-a2b3-7c4d-8e5f-60718293a4b5".to_owned())]
    #[case::short(format!("usr_{}", &HEX[1..]))]
    #[case::long(format!("usr_{HEX}0"))]
    #[case::space(format!(" usr_{HEX}"))]
    #[case::other_letters("usr_0192f0c1a2b37c4d8e5f60718293a4bg".to_owned())]
    #[case::empty(String::new())]
    fn any_other_spelling_is_refused(#[case] text: String) {
        assert_eq!(text.parse::<UserId>(), Err(InvalidId { prefix: "usr_" }));
    }

    proptest! {
        #[test]
        fn every_id_reads_back_from_its_edge_form(bits: u128) {
            let id = ConsentId::from(Uuid::from_u128(bits));
            prop_assert_eq!(id.to_string().parse::<ConsentId>(), Ok(id));
        }
    }
}
