use std::sync::Arc;

use crate::providers::ProviderError;

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

/// Which check of an ID token failed. For logs and alerts only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// `crit`, `cty`, header `typ`, encryption.
    Header,
    /// `iss` is not the issuer, byte by byte.
    Issuer,
    /// `aud` lacks us, or holds somebody else.
    Audience,
    /// `azp` is not us.
    AuthorizedParty,
    /// `alg` is not one of the pinned ones.
    Algorithm,
    /// No published key fits, or several do.
    Key,
    /// The signature is wrong.
    Signature,
    /// `exp` is past, or `iat` outside its window.
    Time,
    /// `nbf` is ahead.
    NotBefore,
    /// `nonce` is not this login's.
    Nonce,
    /// `acr` is lower than asked, or absent where required.
    Acr,
    /// `at_hash` does not fit the access token.
    AccessTokenHash,
    /// Payload `typ` is not `ID`.
    TokenType,
    /// `sub` is empty or too long.
    Subject,
}

impl Check {
    /// A stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::AuthorizedParty => "authorized_party",
            Self::Algorithm => "algorithm",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Time => "time",
            Self::NotBefore => "not_before",
            Self::Nonce => "nonce",
            Self::Acr => "acr",
            Self::AccessTokenHash => "access_token_hash",
            Self::TokenType => "token_type",
            Self::Subject => "subject",
        }
    }
}

impl LoginRefused {
    /// The contract's code for the client; each is answered with 502.
    pub fn code(&self) -> &'static str {
        match self {
            Self::CodeRefused | Self::ClientRefused | Self::Exchange(_) | Self::Unusable => "token_exchange_failed",
            Self::Keys(_) | Self::Token(_) => "jwks_verification_failed",
            Self::IdentityClaim => "invalid_identity_claim",
        }
    }

    /// The exact reason, for logs and alerts: a stable word.
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

    /// Whether ops must look at this single case.
    pub fn needs_ops(&self) -> bool {
        match self {
            Self::ClientRefused | Self::Keys(_) | Self::Token(_) | Self::IdentityClaim => true,
            Self::Exchange(error) => error.needs_ops(),
            Self::CodeRefused | Self::Unusable => false,
        }
    }
}
