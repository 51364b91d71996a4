use ring::signature::Ed25519KeyPair;
use secrecy::{ExposeSecret, SecretBox, SecretSlice, SecretString};

use super::{ConfigError, Environment, reader::Reader};
use crate::base64;

/// Our own keys. Each has a previous one, so that rotation needs no pause.
#[derive(Debug)]
pub struct KeysConfig {
    /// `DROP_SESSION_KEY`. Required; base64 of an Ed25519 PKCS#8 document: signs session tokens.
    pub session_key: SecretSlice<u8>,
    /// `DROP_SESSION_KEY_PREVIOUS`, default none: still verifies, never signs.
    pub session_key_previous: Option<SecretSlice<u8>>,
    /// `DROP_ENCRYPTION_KEY`, `DROP_ENCRYPTION_KEY_ID` (default 1). Required; base64 of 32 bytes.
    pub encryption: EncryptionKey,
    /// `DROP_ENCRYPTION_KEY_PREVIOUS`, `DROP_ENCRYPTION_KEY_PREVIOUS_ID`, default none: still opens, never seals.
    pub encryption_previous: Option<EncryptionKey>,
    /// `NATIONAL_ID_PEPPER`, at least 32 bytes of text. Required in production; without it the hash is the contract's SHA-256.
    pub national_id_pepper: Option<SecretString>,
    /// `NATIONAL_ID_PEPPER_PREVIOUS`, default nothing: people are still found by it, and re-hashed when they log in. The
    /// word `none` finds the rows from before there was a pepper.
    pub national_id_pepper_previous: Option<FormerPepper>,
}

/// What national ids were hashed with before the pepper of today.
#[derive(Debug)]
pub enum FormerPepper {
    /// Another pepper.
    Text(SecretString),
    /// None: the plain hash, which can be guessed. So it is computed only where this is asked for.
    None,
}

/// A key for AES-256-GCM with the id that is stored beside what it sealed.
#[derive(Debug)]
pub struct EncryptionKey {
    /// Which key this is.
    pub id: u8,
    /// The key itself.
    pub key: SecretBox<[u8; 32]>,
}

impl KeysConfig {
    /// The keys alone, for a process that runs no jobs.
    pub fn alone(environment: &Environment) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(environment);
        let config = Self::read(&mut reader);
        reader.finish(config)
    }

    /// What a person's row may be hashed with, the current one first; `None` is the hash without a pepper.
    pub fn peppers(&self) -> Vec<Option<&[u8]>> {
        let bytes = |pepper| SecretString::expose_secret(pepper).as_bytes();
        let former = self.national_id_pepper_previous.as_ref().map(|former| match former {
            FormerPepper::Text(pepper) => Some(bytes(pepper)),
            FormerPepper::None => None,
        });
        let current = self.national_id_pepper.as_ref().map(bytes);
        std::iter::once(current).chain(former).collect()
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let session = reader.secret("DROP_SESSION_KEY");
        let encryption = reader.secret("DROP_ENCRYPTION_KEY");
        let keys = Self {
            session_key: session_key(reader, "DROP_SESSION_KEY", &session),
            session_key_previous: reader
                .optional_secret("DROP_SESSION_KEY_PREVIOUS")
                .map(|text| session_key(reader, "DROP_SESSION_KEY_PREVIOUS", &text)),
            encryption: encryption_key(reader, "DROP_ENCRYPTION_KEY", "DROP_ENCRYPTION_KEY_ID", &encryption),
            encryption_previous: reader.optional_secret("DROP_ENCRYPTION_KEY_PREVIOUS").map(|text| {
                encryption_key(
                    reader,
                    "DROP_ENCRYPTION_KEY_PREVIOUS",
                    "DROP_ENCRYPTION_KEY_PREVIOUS_ID",
                    &text,
                )
            }),
            national_id_pepper: reader
                .optional_secret("NATIONAL_ID_PEPPER")
                .map(|text| pepper(reader, "NATIONAL_ID_PEPPER", text)),
            national_id_pepper_previous: reader.optional_secret("NATIONAL_ID_PEPPER_PREVIOUS").map(|text| {
                if text.expose_secret() == "none" {
                    FormerPepper::None
                } else {
                    FormerPepper::Text(pepper(reader, "NATIONAL_ID_PEPPER_PREVIOUS", text))
                }
            }),
        };
        if keys
            .encryption_previous
            .as_ref()
            .is_some_and(|previous| previous.id == keys.encryption.id)
        {
            reader.problem(
                "DROP_ENCRYPTION_KEY_PREVIOUS_ID",
                "must differ from DROP_ENCRYPTION_KEY_ID",
            );
        }
        if reader.profile.is_production() && keys.national_id_pepper.is_none() {
            reader.problem("NATIONAL_ID_PEPPER", "is required in production");
        }
        keys
    }
}

fn session_key(reader: &mut Reader<'_>, name: &str, text: &SecretString) -> SecretSlice<u8> {
    let bytes = base64::decode(text.expose_secret()).unwrap_or_default();
    let usable = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&bytes).is_ok();
    if !usable && !text.expose_secret().is_empty() {
        reader.problem(name, "is not base64 of an Ed25519 PKCS#8 document");
    }
    SecretSlice::from(bytes)
}

fn encryption_key(reader: &mut Reader<'_>, name: &str, id_name: &str, text: &SecretString) -> EncryptionKey {
    let id = reader.number(id_name, 1, 1..=u8::MAX);
    let bytes = SecretSlice::from(base64::decode(text.expose_secret()).unwrap_or_default());
    let key: [u8; 32] = bytes.expose_secret().try_into().unwrap_or_else(|_| {
        if !text.expose_secret().is_empty() {
            reader.problem(name, "is not base64 of 32 bytes");
        }
        [0; 32]
    });
    EncryptionKey {
        id,
        key: SecretBox::new(Box::new(key)),
    }
}

fn pepper(reader: &mut Reader<'_>, name: &str, text: SecretString) -> SecretString {
    if text.expose_secret().len() < 32 {
        reader.problem(name, "is shorter than 32 bytes");
    }
    text
}
