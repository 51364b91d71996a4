use std::{str::FromStr, sync::Arc};

use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use secrecy::{ExposeSecret, SecretString};

use super::reader::Reader;
use crate::base64;

/// What proves to BankID that we are its client: `BANKID_CLIENT_AUTH`, `client_secret_post` (default, contract) or
/// `private_key_jwt`. Apart from the rest, because only the worker exchanges codes.
#[derive(Debug, Clone)]
pub enum BankIdCredentials {
    /// `BANKID_CLIENT_SECRET`. Required for `client_secret_post`.
    Secret(SecretString),
    /// Required for `private_key_jwt`; the secret is then neither read nor sent.
    Key(BankIdClientKey),
}

/// The key under which BankID has us registered.
#[derive(Debug, Clone)]
pub struct BankIdClientKey {
    /// `BANKID_CLIENT_KEY_ID`: the `kid` of the public key that BankID has.
    pub id: String,
    /// `BANKID_CLIENT_KEY`, base64 of a P-256 PKCS#8 document: signs with ES256. `Debug` shows the public half.
    pub pair: Arc<EcdsaKeyPair>,
}

enum ClientAuth {
    SecretPost,
    PrivateKeyJwt,
}

impl FromStr for ClientAuth {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "client_secret_post" => Ok(Self::SecretPost),
            "private_key_jwt" => Ok(Self::PrivateKeyJwt),
            _ => Err(()),
        }
    }
}

impl BankIdCredentials {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let auth = reader.parsed(
            "BANKID_CLIENT_AUTH",
            ClientAuth::SecretPost,
            "is neither client_secret_post nor private_key_jwt",
        );
        let (key, id) = (
            reader.optional_secret("BANKID_CLIENT_KEY"),
            reader.text("BANKID_CLIENT_KEY_ID"),
        );
        match auth {
            ClientAuth::SecretPost => Self::Secret(reader.secret("BANKID_CLIENT_SECRET")),
            ClientAuth::PrivateKeyJwt => client_key(reader, key.as_ref(), id),
        }
    }
}

fn client_key(reader: &mut Reader<'_>, key: Option<&SecretString>, id: Option<String>) -> BankIdCredentials {
    let id = id.filter(|id| !id.trim().is_empty());
    if id.is_none() {
        reader.problem("BANKID_CLIENT_KEY_ID", "is required for private_key_jwt");
    }
    let pair = match key {
        None => Err("is required for private_key_jwt"),
        Some(text) => key_pair(text).ok_or("is not base64 of a P-256 PKCS#8 document"),
    };
    match (pair, id) {
        (Ok(pair), Some(id)) => BankIdCredentials::Key(BankIdClientKey {
            id,
            pair: Arc::new(pair),
        }),
        (pair, _) => {
            if let Err(rule) = pair {
                reader.problem("BANKID_CLIENT_KEY", rule);
            }
            // A stand-in: a problem is reported.
            BankIdCredentials::Secret(SecretString::default())
        }
    }
}

fn key_pair(text: &SecretString) -> Option<EcdsaKeyPair> {
    let document = base64::decode(text.expose_secret())?;
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &document, &SystemRandom::new()).ok()
}
