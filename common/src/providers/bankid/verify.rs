use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::{
    AccessToken, AccessTokenHash, AuthenticationContextClass, ClaimsVerificationError, ClientId, IssuerUrl,
    JsonWebTokenType, Nonce, SignatureVerificationError,
    core::{CoreIdTokenClaims, CoreJsonWebKeySet, CoreJwsSigningAlgorithm as Alg},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tracing::warn;

use super::{
    BankId, Check, LoginRefused, UnverifiedTokens, VerifiedClaims,
    id_token::{UnverifiedIdToken, Verifier},
};
use crate::{config::BankIdConfig, providers::http::Trace};

/// How far BankID's clock and ours may be apart.
const LEEWAY: TimeDelta = TimeDelta::seconds(10);
/// BankID's tokens live this long; an older one is a replay.
const LONGEST_AGE: TimeDelta = TimeDelta::seconds(300);
/// Pinned: never taken from the token nor from discovery.
pub(super) const ALGORITHMS: [Alg; 2] = [Alg::EcdsaP256Sha256, Alg::RsaSsaPkcs1V15Sha256];

impl BankId {
    /// Checks an ID token by every rule of OIDC Core 3.1.3.7 and RFC 8725 and gives its claims. An unknown
    /// `kid` causes at most one fetch of the keys.
    pub async fn verify(
        &self,
        tokens: &UnverifiedTokens,
        nonce: &SecretString,
        trace: Trace,
        now: DateTime<Utc>,
    ) -> Result<VerifiedClaims, LoginRefused> {
        let id_token = UnverifiedIdToken::read(&tokens.id_token).ok_or(LoginRefused::Unusable)?;
        let rules = Rules {
            config: &self.config,
            nonce,
            access_token: tokens.access_token.as_ref(),
            now,
        };
        if let Err(refused) = self.check(&rules, &id_token, trace).await {
            let (key, algorithm) = id_token.names();
            warn!(request.id = %trace.request_id, kid = key, alg = algorithm, "an ID token is refused: {refused}");
            return Err(refused);
        }
        VerifiedClaims::read(&id_token.payload, &self.config)
    }

    async fn check(&self, rules: &Rules<'_>, id_token: &UnverifiedIdToken, trace: Trace) -> Result<(), LoginRefused> {
        let keys = self.keys.get(trace, rules.now).await.map_err(LoginRefused::Keys)?;
        match rules.check(id_token, &keys.set) {
            Err(Refusal::UnknownKey) => {}
            other => return other.map_err(Refusal::check),
        }
        let newer = self.keys.after_unknown_kid(&keys, trace, rules.now).await;
        let newer = newer
            .ok_or(LoginRefused::Token(Check::Key))?
            .map_err(LoginRefused::Keys)?;
        rules.check(id_token, &newer.set).map_err(Refusal::check)
    }
}

struct Rules<'a> {
    config: &'a BankIdConfig,
    nonce: &'a SecretString,
    access_token: Option<&'a SecretString>,
    now: DateTime<Utc>,
}

enum Refusal {
    UnknownKey,
    Failed(Check),
}

impl Refusal {
    fn check(self) -> LoginRefused {
        match self {
            Self::UnknownKey => LoginRefused::Token(Check::Key),
            Self::Failed(check) => LoginRefused::Token(check),
        }
    }
}

impl Rules<'_> {
    fn check(&self, id_token: &UnverifiedIdToken, keys: &CoreJsonWebKeySet) -> Result<(), Refusal> {
        let (now, config) = (self.now, self.config);
        let issuer = IssuerUrl::new(config.issuer.clone()).map_err(|_| Refusal::Failed(Check::Issuer))?;
        // A verifier without a secret: HS256 under the client secret cannot pass.
        let client = ClientId::new(config.client_id.clone());
        let verifier = Verifier::new_public_client(client, issuer, id_token.keys(keys))
            .set_allowed_algs(ALGORITHMS)
            // An access token says that it is of another kind (RFC 9068). The crate would take a `JOSE` of any kind too.
            .set_allowed_jose_types(JsonWebTokenType::new("JWT".to_owned()).normalize())
            .set_time_fn(move || now - LEEWAY)
            .set_issue_time_verifier_fn(move |issued| {
                let fits = issued <= now + LEEWAY && issued >= now - LONGEST_AGE - LEEWAY;
                if fits {
                    Ok(())
                } else {
                    Err("outside its window".to_owned())
                }
            })
            .set_auth_context_verifier_fn(|acr| {
                if acr_suffices(acr, config) {
                    Ok(())
                } else {
                    Err("too low".to_owned())
                }
            });
        let nonce = Nonce::new(self.nonce.expose_secret().to_owned());
        let claims = id_token.copy.claims(&verifier, &nonce);
        let claims = claims.map_err(|error| refusal(&error))?;
        self.check_the_rest(id_token, claims, &verifier)
            .map_err(Refusal::Failed)
    }

    /// What the crate leaves to its user.
    fn check_the_rest(
        &self,
        id_token: &UnverifiedIdToken,
        claims: &CoreIdTokenClaims,
        verifier: &Verifier<'_>,
    ) -> Result<(), Check> {
        if claims.issuer().as_str() != self.config.issuer {
            return Err(Check::Issuer);
        }
        if claims
            .authorized_party()
            .is_some_and(|party| party.as_str() != self.config.client_id)
        {
            return Err(Check::AuthorizedParty);
        }
        if !(1..=255).contains(&claims.subject().len()) {
            return Err(Check::Subject);
        }
        // An access token is a signed JWT of the same issuer, too.
        if id_token.payload.get("typ").is_some_and(|kind| kind != "ID") {
            return Err(Check::TokenType);
        }
        let not_before = id_token.payload.get("nbf");
        if not_before.is_some_and(|time| !is_reached(time, self.now + LEEWAY)) {
            return Err(Check::NotBefore);
        }
        match claims.access_token_hash() {
            None => Ok(()),
            Some(hash) if self.access_token_hash(id_token, verifier).as_ref() == Some(hash) => Ok(()),
            Some(_) => Err(Check::AccessTokenHash),
        }
    }

    fn access_token_hash(&self, id_token: &UnverifiedIdToken, verifier: &Verifier<'_>) -> Option<AccessTokenHash> {
        let token = AccessToken::new(self.access_token?.expose_secret().to_owned());
        AccessTokenHash::from_token(
            &token,
            id_token.copy.signing_alg().ok()?,
            id_token.copy.signing_key(verifier).ok()?,
        )
        .ok()
    }
}

fn is_reached(time: &Value, now: DateTime<Utc>) -> bool {
    let now = now.timestamp();
    match (time.as_i64(), time.as_f64()) {
        (Some(seconds), _) => seconds <= now,
        // A fraction of a second is legal; rounding down would accept it early.
        (None, Some(seconds)) => u32::try_from(now).is_ok_and(|now| seconds <= f64::from(now)),
        (None, None) => false,
    }
}

fn acr_suffices(acr: Option<&AuthenticationContextClass>, config: &BankIdConfig) -> bool {
    if config.acr_values.is_empty() {
        return true;
    }
    let Some(acr) = acr else { return !config.require_acr };
    let mut asked = config.acr_values.split_whitespace();
    asked.any(|asked| **acr == *asked || (level(acr) > 0 && level(asked) > 0 && level(acr) >= level(asked)))
}

/// High above Substantial; anything else, a contradiction such as `urn:bankid:bid;LOA=3` among it, only by its own name.
fn level(acr: &str) -> u8 {
    match acr {
        "urn:bankid:bid" | "urn:bankid:bid;LOA=4" => 2,
        "urn:bankid:bis" | "urn:bankid:bis;LOA=3" => 1,
        _ => 0,
    }
}

fn refusal(error: &ClaimsVerificationError) -> Refusal {
    Refusal::Failed(match error {
        ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey) => {
            return Refusal::UnknownKey;
        }
        ClaimsVerificationError::SignatureVerification(error) => match error {
            SignatureVerificationError::AmbiguousKeyId(_) | SignatureVerificationError::InvalidKey(_) => Check::Key,
            SignatureVerificationError::DisallowedAlg(_)
            | SignatureVerificationError::UnsupportedAlg(_)
            | SignatureVerificationError::NoSignature => Check::Algorithm,
            // The crate's enums are open.
            _ => Check::Signature,
        },
        ClaimsVerificationError::Expired(_) => Check::Time,
        ClaimsVerificationError::InvalidAudience(_) => Check::Audience,
        ClaimsVerificationError::InvalidAuthContext(_) => Check::Acr,
        ClaimsVerificationError::InvalidIssuer(_) => Check::Issuer,
        ClaimsVerificationError::InvalidNonce(_) => Check::Nonce,
        ClaimsVerificationError::InvalidSubject(_) => Check::Subject,
        _ => Check::Header,
    })
}
