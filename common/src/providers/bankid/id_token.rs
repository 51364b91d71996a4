//! An ID token as it came, and the copy of it that the `openidconnect` crate reads.
//!
//! The crate calls a token unreadable when a claim that nobody uses is not of the type it expects, and BankID's `amr` is a
//! plain string. So it is given a copy that holds what it checks and nothing else, made the same way from every token.
//! The signature is checked over the bytes that BankID signed.

use std::{fmt, str::FromStr, sync::Arc};

use openidconnect::{
    IdTokenVerifier, JsonWebKey, JsonWebKeyAlgorithm, JsonWebKeyId, JsonWebKeySet, SignatureVerificationError,
    core::{
        CoreIdToken, CoreJsonWebKey, CoreJsonWebKeySet, CoreJsonWebKeyType, CoreJsonWebKeyUse, CoreJwsSigningAlgorithm,
    },
};
use secrecy::{ExposeSecret, SecretString};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::{base64, keyring::base64url};

/// The claims that the crate checks, or hands to a check of ours. What the token says of the person is read from its
/// payload.
const CHECKED: [&str; 9] = ["iss", "sub", "aud", "exp", "iat", "nonce", "acr", "azp", "at_hash"];

/// A token that can be read. Nothing in it is to be believed yet.
pub(super) struct UnverifiedIdToken {
    pub(super) copy: CoreIdToken,
    pub(super) payload: Payload,
    signed: Arc<str>,
}

impl UnverifiedIdToken {
    /// `None` for what is no signed JWT, or lacks a claim that every ID token has.
    pub(super) fn read(token: &SecretString) -> Option<Self> {
        let (signed, signature) = token.expose_secret().rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let payload: Payload = serde_json::from_slice(&base64::decode_url(payload)?).ok()?;
        let checked = base64url(payload.only(&CHECKED).as_bytes());
        Some(Self {
            copy: CoreIdToken::from_str(&format!("{header}.{checked}.{signature}")).ok()?,
            payload,
            signed: signed.into(),
        })
    }

    /// The `kid` and `alg` of its header, for a log: other people's text, shown only where it is a plain word.
    pub(super) fn names(&self) -> (String, String) {
        let header = self.signed.split('.').next().and_then(base64::decode_url);
        let header: Value = header
            .and_then(|header| serde_json::from_slice(&header).ok())
            .unwrap_or_default();
        let word = |name: &str| {
            let word = header[name].as_str().unwrap_or("(none)");
            let plain = word.len() <= 64 && word.bytes().all(|byte| byte.is_ascii_graphic());
            if plain { word } else { "(withheld)" }.to_owned()
        };
        (word("kid"), word("alg"))
    }

    /// The published keys, as keys for this token and no other.
    pub(super) fn keys(&self, published: &CoreJsonWebKeySet) -> JsonWebKeySet<KeyForToken> {
        let keys = published.keys().iter().map(|key| KeyForToken {
            key: key.clone(),
            signed: Arc::clone(&self.signed),
        });
        JsonWebKeySet::new(keys.collect())
    }
}

/// The members of a token's payload, each there once: of two with one name, the copy could hold the other.
pub(super) struct Payload(Map<String, Value>);

impl Payload {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A claim that is a text; one of another type is as good as none.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// The members of these names, as JSON.
    fn only(&self, names: &[&str]) -> String {
        let members = names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), self.get(name)?.clone())));
        Value::Object(members.collect()).to_string()
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Payload;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("claims")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Payload, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = map.next_entry()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a claim is there twice"));
                    }
                }
                Ok(Payload(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// A verifier of one token's signature and of the claims in its copy.
pub(super) type Verifier<'a> = IdTokenVerifier<'a, KeyForToken>;

/// A key of BankID's. It checks a signature over what was signed, whatever bytes the crate holds in its place.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct KeyForToken {
    key: CoreJsonWebKey,
    /// Header and payload, as they came. The crate wants keys that can be read from JSON; one read so fits no token.
    #[serde(skip)]
    signed: Arc<str>,
}

impl JsonWebKey for KeyForToken {
    type KeyUse = CoreJsonWebKeyUse;
    type SigningAlgorithm = CoreJwsSigningAlgorithm;

    fn verify_signature(
        &self,
        algorithm: &CoreJwsSigningAlgorithm,
        _of_the_copy: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureVerificationError> {
        self.key.verify_signature(algorithm, self.signed.as_bytes(), signature)
    }

    fn key_id(&self) -> Option<&JsonWebKeyId> {
        self.key.key_id()
    }

    fn key_type(&self) -> &CoreJsonWebKeyType {
        self.key.key_type()
    }

    fn key_use(&self) -> Option<&CoreJsonWebKeyUse> {
        self.key.key_use()
    }

    fn signing_alg(&self) -> JsonWebKeyAlgorithm<&CoreJwsSigningAlgorithm> {
        self.key.signing_alg()
    }

    fn new_symmetric(key: Vec<u8>) -> Self {
        // For verifiers that hold a client's secret. Ours holds none, and this key would fit no token.
        Self {
            key: CoreJsonWebKey::new_symmetric(key),
            signed: Arc::default(),
        }
    }

    fn hash_bytes(&self, bytes: &[u8], algorithm: &CoreJwsSigningAlgorithm) -> Result<Vec<u8>, String> {
        self.key.hash_bytes(bytes, algorithm)
    }
}

/// What was signed holds the national id.
impl fmt::Debug for KeyForToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}
