//! The closed list of codes. The contract's names are kept; ours were added beside them, for what it does not name.

use poem::http::StatusCode;

/// Declares the codes with everything that depends on them, one row each.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:ident $code:literal, $title:literal, $detail:literal;)+) => {
        /// What a program decides by.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name),+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code that is sent as `text`.
            pub(crate) fn of(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.as_str() == text)
            }

            /// The code as it is sent.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code),+ }
            }

            /// The status it is sent with.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),+ }
            }

            /// The problem's title.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title),+ }
            }

            /// The problem's detail.
            pub fn detail(self) -> &'static str {
                match self { $(Self::$name => $detail),+ }
            }
        }
    };
}

codes! {
    /// The request cannot be understood.
    BadRequest = BAD_REQUEST "bad_request", "Bad request", "The request cannot be understood.";
    /// The person cancelled in BankID (contract).
    BankidCancelled = BAD_REQUEST "bankid_cancelled", "Login cancelled", "The login was cancelled in BankID.";
    /// State missing, wrong, used, expired or of another browser.
    InvalidState = BAD_REQUEST "invalid_state", "Login not known", "This login was not started here, was used already or is too old. Start again.";
    /// A callback that BankID does not send.
    InvalidCallback = BAD_REQUEST "invalid_callback", "Callback not valid", "The callback lacks a parameter or repeats one.";
    /// No session, or one that has ended.
    Unauthenticated = UNAUTHORIZED "unauthenticated", "Not signed in", "A live session is required.";
    /// A webhook whose digest is wrong.
    InvalidSignature = UNAUTHORIZED "invalid_signature", "Signature not valid", "The signature does not match the body.";
    /// A request from a foreign page.
    Forbidden = FORBIDDEN "forbidden", "Not allowed", "This request is not allowed from where it was made.";
    /// The identity check is not approved.
    KycRequired = FORBIDDEN "kyc_required", "Identity check required", "An approved identity check is required first.";
    /// Under 18 (contract).
    Underage = FORBIDDEN "underage", "Under age", "Drop is open to people aged 18 or over.";
    /// No claim proves the age.
    AgeUnverified = FORBIDDEN "age_unverified", "Age not proven", "BankID did not give anything that proves the age.";
    /// Unknown, or somebody else's: both look the same.
    NotFound = NOT_FOUND "not_found", "Not found", "There is nothing here.";
    /// The path exists, the method does not.
    MethodNotAllowed = METHOD_NOT_ALLOWED "method_not_allowed", "Method not allowed", "This path does not take this method; see the header Allow.";
    /// The body did not arrive in time.
    RequestTimeout = REQUEST_TIMEOUT "request_timeout", "Request too slow", "The body did not arrive in time.";
    /// An equal payment is under way.
    PossibleDuplicate = CONFLICT "possible_duplicate", "Possible duplicate", "An equal payment is under way. Confirm it to pay twice.";
    /// The state of the thing does not allow this now.
    Conflict = CONFLICT "conflict", "Conflict", "This is not possible in the present state.";
    /// Over the limit for bodies.
    PayloadTooLarge = PAYLOAD_TOO_LARGE "payload_too_large", "Body too large", "The body is larger than this operation takes.";
    /// Not JSON, or compressed.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE "unsupported_media_type", "Content type not supported", "Send uncompressed JSON with the content type application/json.";
    /// A field is wrong.
    ValidationFailed = UNPROCESSABLE_ENTITY "validation_failed", "Not valid", "The request does not have the required form.";
    /// A payment limit.
    LimitExceeded = UNPROCESSABLE_ENTITY "limit_exceeded", "Limit exceeded", "The amount is outside the limits for payments.";
    /// The same key with another body (contract).
    IdempotencyKeyReused = UNPROCESSABLE_ENTITY "idempotency_key_reused", "Idempotency key used before", "This Idempotency-Key was used with another body.";
    /// The caller's own rate.
    RateLimited = TOO_MANY_REQUESTS "rate_limited", "Too many requests", "Too many requests; see the header Retry-After.";
    /// A mistake of ours.
    Internal = INTERNAL_SERVER_ERROR "internal_error", "Internal error", "Something went wrong on our side.";
    /// BankID refused or did not answer the exchange (contract).
    TokenExchangeFailed = BAD_GATEWAY "token_exchange_failed", "BankID did not complete the login", "The login could not be completed with BankID. Start again.";
    /// BankID's token failed a check (contract).
    JwksVerificationFailed = BAD_GATEWAY "jwks_verification_failed", "BankID's answer not verified", "BankID's answer could not be verified. Start again.";
    /// BankID's claims contradict each other or are malformed.
    InvalidIdentityClaim = BAD_GATEWAY "invalid_identity_claim", "BankID's answer not usable", "BankID's answer does not identify a person.";
    /// Any other error BankID redirects with.
    BankidError = BAD_GATEWAY "bankid_error", "BankID reported an error", "BankID could not carry out the login. Try again later.";
    /// A provider's answer that cannot be used.
    ProviderError = BAD_GATEWAY "provider_error", "A provider failed", "A provider did not give a usable answer.";
    /// We do not call the provider at present (contract).
    CircuitOpen = BAD_GATEWAY "circuit_open", "A provider is not available", "The provider failed repeatedly and is not being called for a while.";
    /// The queue behind this operation is too long.
    Overloaded = SERVICE_UNAVAILABLE "overloaded", "Overloaded", "There is too much to do at the moment. Nothing was started.";
    /// The database does not answer.
    Unavailable = SERVICE_UNAVAILABLE "unavailable", "Not available", "The service is not available at the moment.";
}
