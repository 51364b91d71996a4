use std::{error::Error as StdError, time::Duration};

use chrono::{DateTime, Utc};

/// What a failed provider call means to the job that made it. Decided here and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Provably nothing was acted on: the call may be made again.
    NotSent,
    /// The provider said that it did not do it and may do it later (500, 502, 503).
    Transient,
    /// A definite no. Asking again gives the same answer.
    Refused,
    /// The consent is dead: delete it and ask the user to link again.
    Expired,
    /// Too many calls: use the cached value, come back later.
    Limited,
    /// Not tried, because the breaker is open.
    CircuitOpen,
    /// The provider may have acted. Never a failure; a read may simply ask again.
    Ambiguous,
}

impl Class {
    /// Every class, for tables and tests.
    pub const ALL: [Self; 7] = [
        Self::NotSent,
        Self::Transient,
        Self::Refused,
        Self::Expired,
        Self::Limited,
        Self::CircuitOpen,
        Self::Ambiguous,
    ];

    /// A stable word for metric labels and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::Transient => "transient",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Limited => "limited",
            Self::CircuitOpen => "circuit_open",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// Where a low-level failure came from.
pub type Source = Box<dyn StdError + Send + Sync>;

/// Why a provider call gave no usable answer. Holds no token, address of a person, URL or provider
/// text; `code` is the provider's machine word, checked to be one.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The address is not on the allow-list, or the request could not be built.
    #[error("the request was not allowed out")]
    Blocked,
    /// The job's lease had ended, or getting ready took so long that the call would have outlasted its time: nothing left.
    #[error("it was too late to make the call")]
    TooLate,
    /// Connection refused, DNS, TLS or connect timeout: no byte of the request went out.
    #[error("could not connect")]
    Connect(#[source] Source),
    /// No complete answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke while the request or the answer was on its way.
    #[error("the connection broke")]
    Broken(#[source] Source),
    /// An answer of the 5xx family, or 408.
    #[error("the provider answered {status}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The provider's code, when it sent one.
        code: Option<String>,
        /// How long the provider asks us to wait.
        retry_after: Option<Duration>,
    },
    /// Any other 4xx.
    #[error("the provider refused with {status}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The provider's code, when it sent one.
        code: Option<String>,
    },
    /// 401 for the time in a signature: ours is too far from the provider's.
    #[error("the provider's clock is {ahead} s ahead of ours")]
    Clock {
        /// Seconds; negative where ours is ahead.
        ahead: i64,
    },
    /// The consent cannot be used any more.
    #[error("the consent is no longer valid")]
    ConsentExpired {
        /// Which code said so.
        code: String,
    },
    /// 429.
    #[error("the provider asks for fewer calls")]
    TooMany {
        /// The provider's code, when it sent one: it tells one account from all calls.
        code: Option<String>,
        /// How long the provider asks us to wait.
        retry_after: Option<Duration>,
    },
    /// A success whose body is cut off, too large, or lacks what it must hold.
    #[error("the provider's answer could not be read: {what}")]
    Unreadable {
        /// Which rule the answer breaks.
        what: &'static str,
    },
    /// Our access token was refused twice; the call itself was not acted on.
    #[error("the provider refused a fresh access token")]
    TokenRefused,
    /// No access token could be had, so the call was never made.
    #[error("no access token")]
    Token(#[source] Box<ProviderError>),
    /// No access token could be had: another call was fetching one, and that call tells why it failed.
    #[error("the access token that was waited for could not be had")]
    TokenAwaited,
    /// Our access token was refused, and the call was not made again with another.
    #[error("the access token was refused, and then: {0}")]
    NotRepeated(#[source] Box<ProviderError>),
    /// The breaker is open; made by the worker, not by a client.
    #[error("the circuit is open")]
    CircuitOpen {
        /// When the next probe is allowed.
        retry_at: DateTime<Utc>,
    },
}

impl ProviderError {
    /// What the failure means. Only what provably did not go out, or was refused, may ever be called failed.
    pub fn class(&self) -> Class {
        match self {
            Self::Blocked
            | Self::TooLate
            | Self::Connect(_)
            | Self::Token(_)
            | Self::TokenAwaited
            | Self::NotRepeated(_)
            | Self::TokenRefused => Class::NotSent,
            Self::Status {
                status: 500 | 502 | 503,
                ..
            } => Class::Transient,
            Self::Status { .. } | Self::Timeout | Self::Broken(_) | Self::Unreadable { .. } => Class::Ambiguous,
            Self::Refused { .. } | Self::Clock { .. } => Class::Refused,
            Self::ConsentExpired { .. } => Class::Expired,
            Self::TooMany { .. } => Class::Limited,
            Self::CircuitOpen { .. } => Class::CircuitOpen,
        }
    }

    /// Whether the failure says that the provider is unwell: connect errors, timeouts, 5xx and
    /// unreadable successes do; 4xx, 429 and our own refusals never do.
    pub fn counts_for_breaker(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Timeout | Self::Broken(_) | Self::Unreadable { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            Self::Token(source) | Self::NotRepeated(source) => source.counts_for_breaker(),
            Self::Blocked
            | Self::TooLate
            | Self::Refused { .. }
            | Self::Clock { .. }
            | Self::ConsentExpired { .. }
            | Self::TooMany { .. }
            | Self::TokenAwaited
            | Self::TokenRefused
            | Self::CircuitOpen { .. } => false,
        }
    }

    /// Whether the call was not made, so that nothing was learnt about the provider. A refusal is an answer.
    pub fn was_not_made(&self) -> bool {
        match self {
            Self::Blocked | Self::TooLate | Self::Token(_) | Self::TokenAwaited | Self::CircuitOpen { .. } => true,
            Self::NotRepeated(source) => source.was_not_made(),
            Self::Connect(_)
            | Self::Timeout
            | Self::Broken(_)
            | Self::Status { .. }
            | Self::Refused { .. }
            | Self::Clock { .. }
            | Self::ConsentExpired { .. }
            | Self::TooMany { .. }
            | Self::Unreadable { .. }
            | Self::TokenRefused => false,
        }
    }

    /// Whether it is certain that nothing of the call has reached the provider.
    pub fn never_left(&self) -> bool {
        match self {
            Self::Connect(_) => true,
            // The call with the refused token left.
            Self::NotRepeated(_) => false,
            other => other.was_not_made(),
        }
    }

    /// How long the provider asks us to wait, when it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } | Self::TooMany { retry_after, .. } => *retry_after,
            Self::Token(source) | Self::NotRepeated(source) => source.retry_after(),
            Self::Blocked
            | Self::TooLate
            | Self::Connect(_)
            | Self::Timeout
            | Self::Broken(_)
            | Self::Refused { .. }
            | Self::Clock { .. }
            | Self::ConsentExpired { .. }
            | Self::Unreadable { .. }
            | Self::TokenAwaited
            | Self::TokenRefused
            | Self::CircuitOpen { .. } => None,
        }
    }

    /// The status of an answer that refused or failed.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } | Self::Refused { status, .. } => Some(*status),
            Self::Clock { .. } => Some(401),
            _ => None,
        }
    }

    /// The provider's own code, safe to log.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Status { code, .. } | Self::Refused { code, .. } | Self::TooMany { code, .. } => code.as_deref(),
            Self::ConsentExpired { code } => Some(code),
            Self::Token(source) | Self::NotRepeated(source) => source.code(),
            Self::Blocked
            | Self::TooLate
            | Self::Connect(_)
            | Self::Timeout
            | Self::Broken(_)
            | Self::Clock { .. }
            | Self::Unreadable { .. }
            | Self::TokenAwaited
            | Self::TokenRefused
            | Self::CircuitOpen { .. } => None,
        }
    }

    /// Whether it is one account of which there were too many reads (`ACCESS_EXCEEDED`), not all calls together.
    pub fn is_of_one_account(&self) -> bool {
        matches!(self, Self::TooMany { code: Some(code), .. } if code == TOO_MANY_READS)
    }

    /// Whether a consent is called invalid, which is all that a bank says of one that it has not seen approved yet.
    pub fn may_await_approval(&self) -> bool {
        matches!(self, Self::ConsentExpired { code } if code == NOT_OR_NOT_YET_VALID)
    }

    /// Whether a person must look: certificate, signature and role trouble, a token that is never
    /// accepted, a 401 or 403 without a known reason, a call to an address that is not allowed.
    pub fn needs_ops(&self) -> bool {
        match self {
            Self::Blocked | Self::TokenRefused | Self::Clock { .. } => true,
            Self::Refused { status, code } => match code.as_deref() {
                Some(code) => {
                    let ours = ["CERTIFICATE_", "SIGNATURE_"]
                        .iter()
                        .any(|start| code.starts_with(start));
                    ours || code == "ROLE_INVALID" || (matches!(status, 401 | 403) && !KNOWN_REFUSALS.contains(&code))
                }
                None => matches!(status, 401 | 403),
            },
            Self::Token(source) => matches!(**source, Self::Blocked | Self::Refused { .. }),
            Self::NotRepeated(source) => source.needs_ops(),
            Self::TooLate
            | Self::Connect(_)
            | Self::Timeout
            | Self::Broken(_)
            | Self::Status { .. }
            | Self::ConsentExpired { .. }
            | Self::TooMany { .. }
            | Self::Unreadable { .. }
            | Self::TokenAwaited
            | Self::CircuitOpen { .. } => false,
        }
    }

    /// The error of an answer that is not 2xx. `code` is the provider's word, if it sent one.
    pub(crate) fn from_status(status: u16, code: Option<String>, retry_after: Option<Duration>) -> Self {
        match status {
            429 => Self::TooMany { code, retry_after },
            408 | 500..=599 => Self::Status {
                status,
                code,
                retry_after,
            },
            400..=499 => Self::Refused { status, code },
            _ => Self::Unreadable {
                what: "a status that is neither success nor error",
            },
        }
    }
}

/// The Berlin Group's code for more reads of an account than are allowed without its owner.
pub(crate) const TOO_MANY_READS: &str = "ACCESS_EXCEEDED";

/// The Berlin Group's code for a consent that is not valid, or not yet.
pub(crate) const NOT_OR_NOT_YET_VALID: &str = "CONSENT_INVALID";

/// Codes with which a bank refuses a person or a request, not us (message codes of the Berlin Group).
const KNOWN_REFUSALS: [&str; 9] = [
    "EXECUTION_DATE_INVALID",
    "PSU_CREDENTIALS_INVALID",
    "SERVICE_BLOCKED",
    "PRODUCT_INVALID",
    "RESOURCE_UNKNOWN",
    "RESOURCE_EXPIRED",
    "FORBIDDEN",
    "PAYMENT_FAILED",
    "FORMAT_ERROR",
];

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::{Class, ProviderError};

    #[rstest]
    #[case(500, Class::Transient, true)]
    #[case(502, Class::Transient, true)]
    #[case(503, Class::Transient, true)]
    #[case(501, Class::Ambiguous, true)]
    #[case(504, Class::Ambiguous, true)]
    #[case(599, Class::Ambiguous, true)]
    #[case(408, Class::Ambiguous, false)]
    #[case(429, Class::Limited, false)]
    #[case(400, Class::Refused, false)]
    #[case(404, Class::Refused, false)]
    #[case(307, Class::Ambiguous, true)]
    fn a_status_has_one_class(#[case] status: u16, #[case] class: Class, #[case] counts: bool) {
        let error = ProviderError::from_status(status, None, None);
        assert_eq!((error.class(), error.counts_for_breaker()), (class, counts));
    }

    #[test]
    fn a_call_without_a_token_was_not_sent_whatever_became_of_the_token_call() {
        for status in [500, 504, 401, 429] {
            let error = ProviderError::Token(Box::new(ProviderError::from_status(status, None, None)));
            assert_eq!(error.class(), Class::NotSent);
            assert_eq!(error.counts_for_breaker(), status >= 500);
        }
        assert_eq!(ProviderError::TokenRefused.class(), Class::NotSent);
    }

    #[test]
    fn only_what_nobody_there_can_have_seen_never_left() {
        let token = |error| ProviderError::Token(Box::new(error));
        let refused = || ProviderError::from_status(401, None, None);
        for never in [
            ProviderError::Connect("refused".into()),
            ProviderError::TooLate,
            ProviderError::TokenAwaited,
            token(refused()),
        ] {
            assert!(never.never_left(), "{never}");
        }
        let repeated = ProviderError::NotRepeated(Box::new(token(refused())));
        assert_eq!((repeated.class(), repeated.needs_ops()), (Class::NotSent, true));
        let broken = ProviderError::Broken("reset".into());
        for perhaps in [
            repeated,
            ProviderError::TokenRefused,
            broken,
            ProviderError::Timeout,
            refused(),
        ] {
            assert!(!perhaps.never_left(), "{perhaps}");
        }
    }

    #[test]
    fn silence_and_broken_answers_are_never_a_failure() {
        let broken = ProviderError::Broken("reset".into());
        for error in [
            ProviderError::Timeout,
            broken,
            ProviderError::Unreadable { what: "no paymentId" },
        ] {
            assert_eq!((error.class(), error.counts_for_breaker()), (Class::Ambiguous, true));
        }
    }

    #[rstest]
    #[case(401, Some("CERTIFICATE_EXPIRED"), true)]
    #[case(400, Some("ROLE_INVALID"), true)]
    #[case(403, None, true)]
    #[case(401, Some("SOMETHING_NEW"), true)]
    #[case(401, Some("PSU_CREDENTIALS_INVALID"), false)]
    #[case(400, Some("FORMAT_ERROR"), false)]
    #[case(404, None, false)]
    fn trouble_with_our_own_standing_calls_for_a_person(
        #[case] status: u16,
        #[case] code: Option<&str>,
        #[case] ops: bool,
    ) {
        assert_eq!(
            ProviderError::from_status(status, code.map(str::to_owned), None).needs_ops(),
            ops
        );
    }
}
