use std::sync::Arc;

use crate::{
    domain::{login::LoginFailure, words::closed_words},
    providers::ProviderError,
};

/// Why a login ends without a session. Never retried: a code is accepted once.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoginRefused {
    /// The code was used, expired, or belongs to another login.
    #[error("the code was not accepted")]
    CodeRefused,
    /// BankID does not accept us as its client.
    #[error("BankID does not accept our client id or secret")]
    ClientRefused,
    /// The token endpoint could not be reached, or answered something else.
    #[error("could not exchange the code")]
    Exchange(#[source] Arc<ProviderError>),
    /// The answer holds no ID token that can be read, or another kind of token.
    #[error("the token answer holds no usable ID token")]
    Unusable,
    /// The signing keys could not be fetched and no trusted ones are left.
    #[error("could not fetch BankID's signing keys")]
    Keys(#[source] Arc<ProviderError>),
    /// An ID token that was read fails a check.
    #[error("the ID token fails its check: {}", .0.as_str())]
    Token(Check),
    /// A claim about the person is malformed or contradicts another.
    #[error("a claim about the person cannot be used")]
    IdentityClaim,
}

closed_words! {
    /// Which check of an ID token failed. For logs, metrics and alerts only.
    Check, "check of an ID token";
    /// `crit`, `cty`, header `typ`, encryption.
    Header = "header",
    /// `iss` is not the issuer, byte by byte.
    Issuer = "issuer",
    /// `aud` lacks us, or holds somebody else.
    Audience = "audience",
    /// `azp` is not us.
    AuthorizedParty = "authorized_party",
    /// `alg` is not one of the pinned ones.
    Algorithm = "algorithm",
    /// No published key fits, or several do.
    Key = "key",
    /// The signature is wrong.
    Signature = "signature",
    /// `exp` is past, or `iat` outside its window.
    Time = "time",
    /// `nbf` is ahead.
    NotBefore = "not_before",
    /// `nonce` is not this login's.
    Nonce = "nonce",
    /// `acr` is lower than asked, or absent where required.
    Acr = "acr",
    /// `at_hash` does not fit the access token.
    AccessTokenHash = "access_token_hash",
    /// Payload `typ` is not `ID`.
    TokenType = "token_type",
    /// `sub` is empty or too long.
    Subject = "subject",
}

impl LoginRefused {
    /// What the caller is told, in the contract's words; each is answered with 502.
    pub fn failure(&self) -> LoginFailure {
        match self {
            Self::CodeRefused | Self::ClientRefused | Self::Exchange(_) | Self::Unusable => {
                LoginFailure::TokenExchangeFailed
            }
            Self::Keys(_) | Self::Token(_) => LoginFailure::JwksVerificationFailed,
            Self::IdentityClaim => LoginFailure::InvalidIdentityClaim,
        }
    }

    /// The exact reason, for logs, metrics and alerts: a stable word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::CodeRefused => "code_refused",
            Self::ClientRefused => "client_refused",
            Self::Exchange(_) => "exchange",
            Self::Unusable => "unusable_answer",
            Self::Keys(_) => "keys",
            Self::Token(check) => check.as_str(),
            Self::IdentityClaim => "identity_claim",
        }
    }

    /// Whether BankID was not to be reached, or not to be understood.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Exchange(error) | Self::Keys(error) => error.counts_for_breaker(),
            Self::CodeRefused | Self::ClientRefused | Self::Unusable | Self::Token(_) | Self::IdentityClaim => false,
        }
    }

    /// Whether ops must look at this single case.
    pub fn needs_ops(&self) -> bool {
        match self {
            Self::ClientRefused | Self::Keys(_) | Self::Token(_) | Self::IdentityClaim => true,
            Self::Exchange(error) => error.needs_ops(),
            Self::CodeRefused | Self::Unusable => false,
        }
    }
}
