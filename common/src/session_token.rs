//! Our own access token: a short JWT, signed with Ed25519, that names a user and a session row, and nothing else.
//!
//! The signature proves that we issued it; whether the session still lives is the row's business, on every request.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::keyring;

/// How long an access token is good for.
pub const ACCESS_TTL: TimeDelta = TimeDelta::minutes(10);

/// Difference allowed between the clocks of two of our hosts.
const LEEWAY: TimeDelta = TimeDelta::seconds(5);

/// The key that signs access tokens, and every key whose tokens are still accepted.
pub struct SessionTokens {
    issuer: String,
    audience: String,
    signing: EncodingKey,
    current: PublicKey,
    previous: Vec<PublicKey>,
}

/// A key whose signatures are accepted, as it is published.
pub struct PublicKey {
    id: String,
    bytes: Vec<u8>,
}

/// What a verified access token says. There is no other way to get one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedSession {
    user: Uuid,
    session: Uuid,
}

/// Why a token is not ours to accept. Never carries the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Not a JWT of ours: shape, algorithm, type, key, signature, issuer, audience or a claim is wrong.
    #[error("the access token is not valid")]
    Invalid,
    /// Ours, and its time is over.
    #[error("the access token has expired")]
    Expired,
}

/// Why a signing key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session signing key is not an Ed25519 key in PKCS#8")]
pub struct UnusableKey;

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: Uuid,
    sid: Uuid,
    jti: Uuid,
    iat: i64,
    exp: i64,
}

impl SessionTokens {
    /// Signs with `current` and accepts tokens of `previous` too; keys are Ed25519 in PKCS#8 (DER).
    pub fn new(issuer: &str, audience: &str, current: &[u8], previous: &[&[u8]]) -> Result<Self, UnusableKey> {
        // An error only says that it is installed already: by another instance, in a test.
        let _ = EDDSA_OVER_RING.install_default();
        Ok(Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            signing: EncodingKey::from_ed_der(current),
            current: PublicKey::of(current)?,
            previous: previous
                .iter()
                .map(|key| PublicKey::of(key))
                .collect::<Result<_, _>>()?,
        })
    }

    /// A token for `user` in `session`, good for [`ACCESS_TTL`] from `now`; `jti` makes it unique.
    pub fn issue(&self, user: Uuid, session: Uuid, jti: Uuid, now: DateTime<Utc>) -> SecretString {
        let header = Header {
            kid: Some(self.current.id.clone()),
            ..Header::new(Algorithm::EdDSA)
        };
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            sub: user,
            sid: session,
            jti,
            iat: now.timestamp(),
            exp: (now + ACCESS_TTL).timestamp(),
        };
        let token = jsonwebtoken::encode(&header, &claims, &self.signing).expect("the key was parsed at start");
        SecretString::from(token)
    }

    /// Checks algorithm, type, key id, signature, issuer, audience and time of `token`.
    pub fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<VerifiedSession, TokenRefused> {
        let claims = self.claims(token)?;
        if now.timestamp() >= claims.exp.saturating_add(LEEWAY.num_seconds()) {
            return Err(TokenRefused::Expired);
        }
        Ok(claims.session())
    }

    /// Checks all but the time: whoever holds `token` had this session. Enough to end it, and for nothing else.
    pub fn verify_whenever(&self, token: &str) -> Result<VerifiedSession, TokenRefused> {
        self.claims(token).map(|claims| claims.session())
    }

    fn claims(&self, token: &str) -> Result<Claims, TokenRefused> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenRefused::Invalid)?;
        if header.typ.as_deref() != Some("JWT") {
            return Err(TokenRefused::Invalid);
        }
        let key = self
            .public_keys()
            .find(|key| header.kid.as_ref() == Some(&key.id))
            .ok_or(TokenRefused::Invalid)?;
        jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_ed_der(&key.bytes), &self.validation())
            .map(|token| token.claims)
            .map_err(|_| TokenRefused::Invalid)
    }

    /// The keys whose tokens are accepted, the one that signs first.
    pub fn public_keys(&self) -> impl Iterator<Item = &PublicKey> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    fn validation(&self) -> Validation {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // The crate reads the system's clock; ours is an argument.
        validation.validate_exp = false;
        validation
    }
}

impl Claims {
    fn session(&self) -> VerifiedSession {
        VerifiedSession {
            user: self.sub,
            session: self.sid,
        }
    }
}

impl VerifiedSession {
    /// The user's id.
    pub fn user(&self) -> Uuid {
        self.user
    }

    /// The id of the session's row, which must still be live.
    pub fn session(&self) -> Uuid {
        self.session
    }
}

impl PublicKey {
    fn of(pkcs8: &[u8]) -> Result<Self, UnusableKey> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).map_err(|_| UnusableKey)?;
        let bytes = pair.public_key().as_ref().to_vec();
        // RFC 7638: the thumbprint is the hash of the required members in this exact form.
        let thumbprint = format!(
            r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#,
            keyring::base64url(&bytes)
        );
        Ok(Self {
            id: keyring::base64url(&keyring::sha256(thumbprint.as_bytes())),
            bytes,
        })
    }

    /// Its id: the thumbprint of RFC 7638.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The Ed25519 key, base64url: the member `x` of a JSON Web Key (RFC 8037).
    pub fn x(&self) -> String {
        keyring::base64url(&self.bytes)
    }
}

impl fmt::Debug for SessionTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionTokens")
            .field("issuer", &self.issuer)
            .field("kid", &self.current.id)
            .finish_non_exhaustive()
    }
}

// jsonwebtoken's own implementations bring a second generation of curves or a C build; ring is in the tree for TLS.
static EDDSA_OVER_RING: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match algorithm {
        Algorithm::EdDSA => {
            let pair =
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.as_bytes()).map_err(|_| ErrorKind::InvalidEddsaKey)?;
            Ok(Box::new(Signing(pair)))
        }
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::EdDSA => Ok(Box::new(Verifying(key.try_get_as_bytes()?.to_vec()))),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct Signing(Ed25519KeyPair);

impl Signer<Vec<u8>> for Signing {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl JwtSigner for Signing {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Verifying(Vec<u8>);

impl Verifier<Vec<u8>> for Verifying {
    fn verify(&self, message: &[u8], tag: &Vec<u8>) -> Result<(), signature::Error> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, tag)
            .map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Verifying {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[cfg(test)]
mod tests {
    use ring::hmac;
    use ring::rand::SystemRandom;
    use secrecy::ExposeSecret;

    use super::*;

    fn key() -> Vec<u8> {
        Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .unwrap()
            .as_ref()
            .to_vec()
    }

    fn tokens(key: &[u8]) -> SessionTokens {
        SessionTokens::new("https://api.drop.example", "drop", key, &[]).unwrap()
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_900_000_000, 0).unwrap()
    }

    fn issued(tokens: &SessionTokens) -> String {
        tokens
            .issue(Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3), now())
            .expose_secret()
            .to_owned()
    }

    /// A token with this header over the same claims, signed by `sign`.
    fn forged(token: &str, header: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let claims = token.split('.').nth(1).unwrap();
        let message = format!("{}.{claims}", keyring::base64url(header.as_bytes()));
        format!("{message}.{}", keyring::base64url(&sign(message.as_bytes())))
    }

    #[test]
    fn an_issued_token_names_its_user_and_session() {
        let tokens = tokens(&key());
        let session = tokens.verify(&issued(&tokens), now()).unwrap();
        assert_eq!(
            (session.user(), session.session()),
            (Uuid::from_u128(1), Uuid::from_u128(2))
        );
    }

    #[test]
    fn a_token_says_nothing_else_of_its_user() {
        let token = issued(&tokens(&key()));
        let claims = crate::base64::decode_url(token.split('.').nth(1).unwrap()).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        let issued = now().timestamp();
        assert_eq!(
            claims,
            serde_json::json!({
                "iss": "https://api.drop.example", "aud": "drop", "iat": issued, "exp": issued + 600,
                "sub": Uuid::from_u128(1), "sid": Uuid::from_u128(2), "jti": Uuid::from_u128(3),
            })
        );
    }

    #[test]
    fn a_token_ends_after_ten_minutes_and_the_leeway() {
        let tokens = tokens(&key());
        let token = issued(&tokens);
        assert!(tokens.verify(&token, now() + TimeDelta::seconds(604)).is_ok());
        assert_eq!(
            tokens.verify(&token, now() + TimeDelta::seconds(605)),
            Err(TokenRefused::Expired)
        );
    }

    #[test]
    fn another_key_issuer_or_audience_is_refused() {
        let (ours, theirs) = (key(), key());
        let verifier = tokens(&ours);
        for foreign in [
            tokens(&theirs),
            SessionTokens::new("https://other.example", "drop", &ours, &[]).unwrap(),
            SessionTokens::new("https://api.drop.example", "other", &ours, &[]).unwrap(),
        ] {
            assert_eq!(verifier.verify(&issued(&foreign), now()), Err(TokenRefused::Invalid));
        }
    }

    #[test]
    fn other_algorithms_and_types_are_refused_even_with_our_key_id() {
        let ours = key();
        let tokens = tokens(&ours);
        let token = issued(&tokens);
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&ours).unwrap();
        let kid = &tokens.current.id;
        let good = forged(
            &token,
            &format!(r#"{{"alg":"EdDSA","typ":"JWT","kid":"{kid}"}}"#),
            |m| pair.sign(m).as_ref().to_vec(),
        );
        assert!(
            tokens.verify(&good, now()).is_ok(),
            "the forger below differs in the header only"
        );
        let with_public_key = hmac::Key::new(hmac::HMAC_SHA256, &tokens.current.bytes);
        for (header, signature) in [
            (r#"{"alg":"none","typ":"JWT","kid":"KID"}"#, None),
            (r#"{"alg":"EdDSA","typ":"JWT","kid":"KID"}"#, None),
            (r#"{"alg":"HS256","typ":"JWT","kid":"KID"}"#, Some(false)),
            (r#"{"alg":"RS256","typ":"JWT","kid":"KID"}"#, Some(true)),
            (r#"{"alg":"EdDSA","typ":"logout+jwt","kid":"KID"}"#, Some(true)),
            (r#"{"alg":"EdDSA","typ":"JWT"}"#, Some(true)),
        ] {
            let forged = forged(&token, &header.replace("KID", kid), |message| match signature {
                None => Vec::new(),
                Some(false) => hmac::sign(&with_public_key, message).as_ref().to_vec(),
                Some(true) => pair.sign(message).as_ref().to_vec(),
            });
            assert_eq!(tokens.verify(&forged, now()), Err(TokenRefused::Invalid), "{header}");
        }
        assert_eq!(tokens.verify("", now()), Err(TokenRefused::Invalid));
    }

    #[test]
    fn a_replaced_key_is_accepted_until_it_is_removed() {
        let (old, new) = (key(), key());
        let token = issued(&tokens(&old));
        let rotated = SessionTokens::new("https://api.drop.example", "drop", &new, &[&old]).unwrap();
        assert!(rotated.verify(&token, now()).is_ok());
        assert_eq!(rotated.public_keys().count(), 2);
        assert_eq!(tokens(&new).verify(&token, now()), Err(TokenRefused::Invalid));
    }

    #[test]
    fn a_key_of_another_kind_stops_the_start() {
        assert_eq!(
            SessionTokens::new("i", "a", b"not a key", &[]).unwrap_err(),
            UnusableKey
        );
    }
}
