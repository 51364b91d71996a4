//! What the clients tell about their calls, in closed words: no metric label can hold a provider's own text.

use std::{sync::Arc, time::Duration};

/// Told of every call's end and of every word of a provider that is in none of our lists.
pub trait Observer: Send + Sync {
    /// A call ended. The outcome is `ok` or a [`super::Class`] word.
    fn ended(&self, operation: Operation, outcome: &'static str, took: Duration);

    /// A provider said something we do not know; what it was is in the log.
    fn unknown(&self, field: Field);
}

/// How a client is given its observer.
pub type SharedObserver = Arc<dyn Observer>;

/// An observer that measures nothing, for tools and tests.
pub fn unobserved() -> SharedObserver {
    Arc::new(Unobserved)
}

struct Unobserved;

impl Observer for Unobserved {
    fn ended(&self, _: Operation, _: &'static str, _: Duration) {}
    fn unknown(&self, _: Field) {}
}

/// Declares an enum whose variants belong to a provider and have a word.
macro_rules! words_of_providers {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $provider:literal / $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every variant, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Whose it is.
            pub const fn provider(self) -> &'static str {
                match self { $(Self::$variant => $provider,)+ }
            }

            /// The word in metrics and traces.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

words_of_providers! {
    /// What a provider is asked.
    Operation {
        /// The exchange of a code.
        BankIdToken = "bankid" / "token",
        /// `BankID`'s signing keys.
        BankIdKeys = "bankid" / "jwks",
        /// `BankID`'s document about itself.
        BankIdDiscovery = "bankid" / "discovery",
        /// Our access token at Neonomics.
        NeonomicsToken = "neonomics" / "token",
        /// A new consent.
        ConsentCreate = "neonomics" / "consent_create",
        /// A consent, with its last day.
        ConsentRead = "neonomics" / "consent_read",
        /// A consent's status alone.
        ConsentStatus = "neonomics" / "consent_status",
        /// The end of a consent.
        ConsentDelete = "neonomics" / "consent_delete",
        /// The accounts of a consent.
        Accounts = "neonomics" / "accounts",
        /// An account's balances.
        Balances = "neonomics" / "balances",
        /// A new payment.
        PaymentInitiate = "neonomics" / "payment_initiate",
        /// A payment's status.
        PaymentStatus = "neonomics" / "payment_status",
        /// A payment as the bank has it.
        PaymentRead = "neonomics" / "payment_read",
        /// The start of a payment's approval, where the bank wants a call for that.
        PaymentAuthorise = "neonomics" / "payment_authorise",
        /// The withdrawal of a payment.
        PaymentCancel = "neonomics" / "payment_cancel",
        /// A new applicant.
        ApplicantCreate = "sumsub" / "applicant_create",
        /// An applicant, looked up by our user id.
        ApplicantRead = "sumsub" / "applicant_read",
        /// How an applicant's review stands.
        ApplicantStatus = "sumsub" / "applicant_status",
        /// A token for one user's app.
        SdkToken = "sumsub" / "sdk_token",
    }
}

words_of_providers! {
    /// Where a client may meet a word that is in none of our lists.
    Field {
        /// A payment's status.
        TransactionStatus = "neonomics" / "transaction_status",
        /// A consent's status.
        ConsentStatus = "neonomics" / "consent_status",
        /// What a balance means.
        BalanceType = "neonomics" / "balance_type",
        /// The code of a refusal.
        ErrorCode = "neonomics" / "error_code",
        /// What a review decided.
        ReviewAnswer = "sumsub" / "review_answer",
        /// How far a review is.
        ReviewStatus = "sumsub" / "review_status",
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, Operation};
    use crate::{
        metrics::{MetricSpec, PROVIDER_REQUEST_DURATION, PROVIDER_REQUESTS, PROVIDER_UNKNOWN_VALUES},
        providers::Class,
    };

    fn sorted(mut series: Vec<Vec<&str>>) -> Vec<Vec<&str>> {
        series.sort_unstable();
        series
    }

    fn declared(spec: &MetricSpec) -> Vec<Vec<&'static str>> {
        sorted(spec.series())
    }

    #[test]
    fn the_table_of_metrics_has_every_operation_with_every_outcome_and_no_other() {
        let outcomes: Vec<&str> = Class::ALL.map(Class::as_str).into_iter().chain(["ok"]).collect();
        let pairs = || {
            Operation::ALL
                .iter()
                .map(|operation| (operation.provider(), operation.as_str()))
        };
        let reported = pairs().flat_map(|(provider, operation)| {
            let outcomes = outcomes.clone();
            outcomes
                .into_iter()
                .map(move |outcome| vec![provider, operation, outcome])
        });
        assert_eq!(declared(&PROVIDER_REQUESTS), sorted(reported.collect()));
        let timed = pairs().map(|(provider, operation)| vec![provider, operation]);
        assert_eq!(declared(&PROVIDER_REQUEST_DURATION), sorted(timed.collect()));
    }

    #[test]
    fn the_table_of_metrics_has_every_field_that_a_client_may_find_unknown() {
        let declared = declared(&PROVIDER_UNKNOWN_VALUES);
        for field in Field::ALL {
            let series = vec![field.provider(), field.as_str()];
            assert!(declared.contains(&series), "{series:?}");
        }
    }
}
