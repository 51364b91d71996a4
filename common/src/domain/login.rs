//! A login's states, and its failures under the contract's names.

use super::words::closed_words;

closed_words! {
    /// How far a login has come.
    LoginStatus, "login status";
    /// The person is at `BankID`.
    Started = "started",
    /// The code is here; the worker exchanges and checks it.
    Checking = "checking",
    /// The person is known; the session can be handed out once.
    Succeeded = "succeeded",
    /// Over; the failure says why.
    Failed = "failed",
}

closed_words! {
    /// Why a login ended without a session: the `code` of the answer.
    LoginFailure, "login failure";
    /// The person cancelled in `BankID`.
    Cancelled = "bankid_cancelled",
    /// The callback had a repeated parameter, no code, or another server's `iss`.
    InvalidCallback = "invalid_callback",
    /// `BankID` sent another error than a cancellation.
    BankIdError = "bankid_error",
    /// The code could not be exchanged, or the answer could not be read.
    TokenExchangeFailed = "token_exchange_failed",
    /// The signing keys could not be had, or the ID token failed a check.
    JwksVerificationFailed = "jwks_verification_failed",
    /// The person is under 18.
    Underage = "underage",
    /// Nothing tells the person's age.
    AgeUnverified = "age_unverified",
    /// The national id is malformed, contradicts another claim, or is of a kind not accepted here.
    InvalidIdentityClaim = "invalid_identity_claim",
    /// The person's account was erased. A new one is not made of it: that is a case for support.
    Erased = "unauthenticated",
}

impl LoginFailure {
    /// The code that the caller sees; the row keeps the same word.
    pub const fn code(self) -> &'static str {
        self.as_str()
    }

    /// Whether the failure counts in `bankid_login_errors_total`. What the person did or is counts elsewhere.
    pub const fn counts_as_error(self) -> bool {
        match self {
            Self::Cancelled | Self::Underage | Self::Erased => false,
            Self::InvalidCallback
            | Self::BankIdError
            | Self::TokenExchangeFailed
            | Self::JwksVerificationFailed
            | Self::AgeUnverified
            | Self::InvalidIdentityClaim => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_and_status_reads_back_from_its_word() {
        for failure in LoginFailure::ALL {
            assert_eq!(failure.code().parse(), Ok(*failure));
        }
        for status in LoginStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(*status));
        }
        assert!("bankid_canceled".parse::<LoginFailure>().is_err());
    }

    #[test]
    fn what_the_person_did_or_is_counts_as_no_error() {
        let uncounted: Vec<_> = LoginFailure::ALL
            .iter()
            .filter(|failure| !failure.counts_as_error())
            .collect();
        let persons = [LoginFailure::Cancelled, LoginFailure::Underage, LoginFailure::Erased];
        assert_eq!(uncounted, persons.iter().collect::<Vec<_>>());
    }
}
