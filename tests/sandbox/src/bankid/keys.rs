//! BankID's signing keys: published, rotated, used.

use anyhow::{Context as _, anyhow};
use ring::{
    rand::SystemRandom,
    rsa::{self, PublicKeyComponents},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaEncoding,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::encoding::base64url;

/// A key made for this sandbox alone; see the file beside it.
const TEST_ONLY_RSA_KEY: &[u8] = include_bytes!("../../keys/test-only-rsa.pk8");

/// What ID tokens are signed with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// ECDSA over P-256; BankID's choice since API version 4.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// RSA PKCS#1 v1.5; on its way out.
    #[serde(rename = "RS256")]
    Rs256,
    /// The same with SHA-512: as strong, and not what BankID uses.
    #[serde(rename = "RS512")]
    Rs512,
}

impl Algorithm {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Rs512 => "RS512",
        }
    }
}

struct EcKey {
    kid: String,
    pair: EcdsaKeyPair,
}

/// The keys: the one in use, the one before it while still published, the one after it once published.
pub(super) struct Keys {
    random: SystemRandom,
    made: u32,
    current: EcKey,
    previous: Option<EcKey>,
    next: Option<EcKey>,
    /// Never published: a forger's.
    unpublished: EcKey,
    rsa: rsa::KeyPair,
}

impl Keys {
    pub(super) fn new() -> anyhow::Result<Self> {
        let random = SystemRandom::new();
        let (current, unpublished) = (generate(&random, 1)?, generate(&random, 0)?);
        let rsa = rsa::KeyPair::from_pkcs8(TEST_ONLY_RSA_KEY)
            .map_err(|e| anyhow!("the embedded RSA key is unusable: {e}"))?;
        Ok(Self {
            random,
            made: 1,
            current,
            previous: None,
            next: None,
            unpublished,
            rsa,
        })
    }

    /// Publishes the key that will be used after the next rotation.
    pub(super) fn publish_next(&mut self) -> anyhow::Result<()> {
        if self.next.is_none() {
            self.made += 1;
            self.next = Some(generate(&self.random, self.made)?);
        }
        Ok(())
    }

    /// Signs with the next key from now on; the old one stays published only if asked to.
    pub(super) fn rotate(&mut self, keep_old: bool) -> anyhow::Result<()> {
        self.publish_next()?;
        let next = self.next.take().context("a next key was just published")?;
        let old = std::mem::replace(&mut self.current, next);
        self.previous = keep_old.then_some(old);
        Ok(())
    }

    pub(super) fn kid(&self, algorithm: Algorithm) -> &str {
        match algorithm {
            Algorithm::Es256 => &self.current.kid,
            Algorithm::Rs256 | Algorithm::Rs512 => "rs-1",
        }
    }

    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let padding: &dyn RsaEncoding = match algorithm {
            Algorithm::Es256 => return self.sign_with(&self.current, message),
            Algorithm::Rs256 => &RSA_PKCS1_SHA256,
            Algorithm::Rs512 => &RSA_PKCS1_SHA512,
        };
        let mut signature = vec![0; self.rsa.public().modulus_len()];
        let signed = self.rsa.sign(padding, &self.random, message, &mut signature);
        signed.expect("the buffer has the modulus' length");
        signature
    }

    /// An ES256 signature by the key that is not published.
    pub(super) fn sign_unpublished(&self, message: &[u8]) -> Vec<u8> {
        self.sign_with(&self.unpublished, message)
    }

    fn sign_with(&self, key: &EcKey, message: &[u8]) -> Vec<u8> {
        let signature = key.pair.sign(&self.random, message);
        let signature = signature.expect("signing fails only without randomness");
        signature.as_ref().to_vec()
    }

    /// The key in use, as it is published.
    pub(super) fn jwk(&self, algorithm: Algorithm) -> Value {
        match algorithm {
            Algorithm::Es256 => ec_jwk(&self.current, &self.current.kid),
            Algorithm::Rs256 | Algorithm::Rs512 => self.rsa_jwk("sig", "RS256", "rs-1"),
        }
    }

    /// The key that is not published, under the name of the one in use.
    pub(super) fn unpublished(&self) -> Value {
        ec_jwk(&self.unpublished, &self.current.kid)
    }

    /// The JWKS document. It also holds an encryption key, which nobody may verify a signature with.
    pub(super) fn published(&self) -> Value {
        let mut keys: Vec<_> = [Some(&self.current), self.previous.as_ref(), self.next.as_ref()]
            .into_iter()
            .flatten()
            .map(|key| ec_jwk(key, &key.kid))
            .collect();
        keys.push(self.jwk(Algorithm::Rs256));
        keys.push(self.rsa_jwk("enc", "RSA-OAEP", "enc-1"));
        json!({ "keys": keys })
    }

    fn rsa_jwk(&self, purpose: &str, algorithm: &str, kid: &str) -> Value {
        let modulus = PublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        json!({
            "kty": "RSA", "use": purpose, "alg": algorithm, "kid": kid,
            "n": base64url(&modulus.n), "e": base64url(&modulus.e),
        })
    }
}

fn generate(random: &SystemRandom, number: u32) -> anyhow::Result<EcKey> {
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, random).map_err(|_| anyhow!("no randomness for a key"))?;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), random);
    let pair = pair.map_err(|e| anyhow!("a generated key is unusable: {e}"))?;
    // A kid is never reused, also not by another run of the sandbox.
    let kid = format!("es-{number}-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    Ok(EcKey { kid, pair })
}

fn ec_jwk(key: &EcKey, kid: &str) -> Value {
    // An uncompressed point: one byte 0x04, then x and y of 32 bytes each.
    let point = key.pair.public_key().as_ref();
    json!({
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
        "x": base64url(&point[1..33]), "y": base64url(&point[33..65]),
    })
}
