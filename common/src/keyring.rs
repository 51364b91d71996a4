//! Column encryption, blind indexes and random tokens.
//!
//! A sealed value is AES-256-GCM: one byte key id, a random 96-bit nonce, then ciphertext and tag. Column, row and key id
//! are authenticated with it, so a ciphertext that was moved to another row or column does not open.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::config::KeysConfig;

/// Length of an encryption key in bytes.
pub const KEY_LEN: usize = 32;

/// The encryption keys of a process: one seals, all open.
pub struct Keyring {
    current: Key,
    previous: Vec<Key>,
    random: SystemRandom,
}

struct Key {
    id: u8,
    seal: LessSafeKey,
    index: hmac::Key,
}

/// Why a keyring cannot be built. Never carries key material.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// A key is not 256 bits long.
    #[error("encryption key {0} is not {KEY_LEN} bytes long")]
    Length(u8),
    /// Two keys carry the same id.
    #[error("encryption key id {0} is used twice")]
    DuplicateId(u8),
}

/// Why a sealed value does not open. Never carries the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was sealed with a key this process does not have.
    #[error("sealed with the unknown key {0}")]
    UnknownKey(u8),
    /// It was altered, cut, or belongs to another row or column.
    #[error("the sealed value is not authentic here")]
    NotAuthentic,
    /// It opened, but is not UTF-8 text.
    #[error("the sealed value is not text")]
    NotText,
}

impl Keyring {
    /// The ring that the configuration names.
    pub fn from_config(keys: &KeysConfig) -> Result<Self, KeyringError> {
        let previous = keys.encryption_previous.as_ref();
        let previous: Vec<(u8, &[u8])> = previous
            .iter()
            .map(|key| (key.id, key.key.expose_secret().as_slice()))
            .collect();
        Self::new(keys.encryption.id, keys.encryption.key.expose_secret(), &previous)
    }

    /// Builds the ring from the current key and those it replaced; each is 32 bytes with an id of its own.
    pub fn new(current_id: u8, current: &[u8], previous: &[(u8, &[u8])]) -> Result<Self, KeyringError> {
        let current = Key::new(current_id, current)?;
        let mut replaced: Vec<Key> = Vec::with_capacity(previous.len());
        for (id, bytes) in previous {
            if *id == current.id || replaced.iter().any(|key| key.id == *id) {
                return Err(KeyringError::DuplicateId(*id));
            }
            replaced.push(Key::new(*id, bytes)?);
        }
        Ok(Self {
            current,
            previous: replaced,
            random: SystemRandom::new(),
        })
    }

    /// Seals `plain` for one place: `column` is `table.column`, `row` the row's id, or what else is only its own.
    pub fn seal(&self, column: &str, row: Uuid, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = self.random_bytes();
        let mut body = plain.to_vec();
        self.current
            .seal
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                place(column, row, self.current.id),
                &mut body,
            )
            .expect("a column value is far below AES-GCM's length limit");
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + body.len());
        sealed.push(self.current.id);
        sealed.extend_from_slice(&nonce);
        sealed.append(&mut body);
        sealed
    }

    /// Opens what [`Keyring::seal`] made for the same column and row, with whichever key sealed it.
    pub fn open(&self, column: &str, row: Uuid, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let (id, rest) = sealed.split_first().ok_or(OpenError::NotAuthentic)?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN).ok_or(OpenError::NotAuthentic)?;
        let key = self
            .keys()
            .find(|key| key.id == *id)
            .ok_or(OpenError::UnknownKey(*id))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError::NotAuthentic)?;
        let mut body = body.to_vec();
        let plain = key
            .seal
            .open_in_place(nonce, place(column, row, *id), &mut body)
            .map_err(|_| OpenError::NotAuthentic)?
            .len();
        body.truncate(plain);
        Ok(body)
    }

    /// [`Keyring::open`] for text, as a value that no log or Debug shows.
    pub fn open_text(&self, column: &str, row: Uuid, sealed: &[u8]) -> Result<SecretString, OpenError> {
        let plain = self.open(column, row, sealed)?;
        String::from_utf8(plain)
            .map(SecretString::from)
            .map_err(|_| OpenError::NotText)
    }

    /// The id of the key that seals: the first byte of what it sealed.
    pub fn current_id(&self) -> u8 {
        self.current.id
    }

    /// Whether `sealed` should be sealed again because a replaced key made it.
    pub fn is_outdated(&self, sealed: &[u8]) -> bool {
        sealed.first() != Some(&self.current.id)
    }

    /// A keyed hash of `text` for look-ups of sealed columns; `purpose` keeps equal texts of two columns apart.
    pub fn blind_index(&self, purpose: &str, text: &str) -> [u8; 32] {
        self.current.blind_index(purpose, text)
    }

    /// [`Keyring::blind_index`] under every key, the current one first: what a look-up asks for while keys rotate.
    pub fn blind_indexes(&self, purpose: &str, text: &str) -> Vec<[u8; 32]> {
        self.keys().map(|key| key.blind_index(purpose, text)).collect()
    }

    /// 256 random bits as 43 characters of base64url.
    pub fn random_token(&self) -> SecretString {
        let bytes: [u8; 32] = self.random_bytes();
        SecretString::from(base64url(&bytes))
    }

    fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random
            .fill(&mut bytes)
            .expect("the operating system gives random bytes");
        bytes
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

impl Key {
    fn new(id: u8, bytes: &[u8]) -> Result<Self, KeyringError> {
        let seal = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| KeyringError::Length(id))?;
        // A key of its own for the index: one key never serves two algorithms.
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), b"drop/blind-index/1");
        Ok(Self {
            id,
            seal: LessSafeKey::new(seal),
            index: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
        })
    }

    fn blind_index(&self, purpose: &str, text: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.index);
        context.update(purpose.as_bytes());
        context.update(&[0]);
        context.update(text.as_bytes());
        fixed(context.sign().as_ref())
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("current", &self.current.id)
            .finish_non_exhaustive()
    }
}

/// SHA-256 of `bytes`: what is stored of states, login codes and refresh tokens.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    fixed(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Base64url without padding (RFC 4648 section 5).
pub fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_usize, |all, byte| all << 8 | usize::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(ALPHABET[group >> (18 - 6 * place) & 63]));
        }
    }
    text
}

fn place(column: &str, row: Uuid, key: u8) -> Aad<Vec<u8>> {
    let mut place = Vec::with_capacity(column.len() + 18);
    place.extend_from_slice(column.as_bytes());
    place.push(0);
    place.extend_from_slice(row.as_bytes());
    place.push(key);
    Aad::from(place)
}

fn fixed(hash: &[u8]) -> [u8; 32] {
    hash.try_into().expect("SHA-256 is 32 bytes")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use secrecy::ExposeSecret;

    use super::*;

    const COLUMN: &str = "bank_accounts.account_sealed";

    fn ring() -> Keyring {
        Keyring::new(1, &[7; 32], &[]).unwrap()
    }

    #[test]
    fn a_sealed_value_opens_in_its_place() {
        let row = Uuid::from_u128(1);
        let sealed = ring().seal(COLUMN, row, b"NO93 8601 1117 947");
        assert_eq!(sealed[0], 1);
        assert_eq!(ring().open(COLUMN, row, &sealed).unwrap(), b"NO93 8601 1117 947");
        assert_eq!(
            ring().open_text(COLUMN, row, &sealed).unwrap().expose_secret(),
            "NO93 8601 1117 947"
        );
    }

    #[test]
    fn a_moved_altered_or_cut_ciphertext_does_not_open() {
        let row = Uuid::from_u128(1);
        let sealed = ring().seal(COLUMN, row, b"secret");
        assert_eq!(
            ring().open(COLUMN, Uuid::from_u128(2), &sealed),
            Err(OpenError::NotAuthentic)
        );
        assert_eq!(
            ring().open("users.email_sealed", row, &sealed),
            Err(OpenError::NotAuthentic)
        );
        for at in 1..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(
                ring().open(COLUMN, row, &altered),
                Err(OpenError::NotAuthentic),
                "byte {at}"
            );
            assert_eq!(
                ring().open(COLUMN, row, &sealed[..at]),
                Err(OpenError::NotAuthentic),
                "length {at}"
            );
        }
        assert_eq!(ring().open(COLUMN, row, &[]), Err(OpenError::NotAuthentic));
    }

    #[test]
    fn the_key_id_is_authenticated_too() {
        let row = Uuid::from_u128(1);
        let both = Keyring::new(2, &[7; 32], &[(1, &[7; 32])]).unwrap();
        let mut sealed = ring().seal(COLUMN, row, b"secret");
        sealed[0] = 2;
        assert_eq!(both.open(COLUMN, row, &sealed), Err(OpenError::NotAuthentic));
    }

    #[test]
    fn a_replaced_key_still_opens_until_it_is_removed() {
        let row = Uuid::from_u128(1);
        let sealed = ring().seal(COLUMN, row, b"secret");
        let rotated = Keyring::new(2, &[8; 32], &[(1, &[7; 32])]).unwrap();
        assert_eq!(rotated.open(COLUMN, row, &sealed).unwrap(), b"secret");
        assert!(rotated.is_outdated(&sealed) && !rotated.is_outdated(&rotated.seal(COLUMN, row, b"x")));
        let removed = Keyring::new(2, &[8; 32], &[]).unwrap();
        assert_eq!(removed.open(COLUMN, row, &sealed), Err(OpenError::UnknownKey(1)));
        assert_eq!(
            rotated.blind_indexes("account", "a")[1],
            ring().blind_index("account", "a")
        );
    }

    #[test]
    fn wrong_lengths_and_repeated_ids_are_refused() {
        assert_eq!(Keyring::new(3, &[7; 16], &[]).unwrap_err(), KeyringError::Length(3));
        assert_eq!(
            Keyring::new(3, &[7; 32], &[(3, &[8; 32])]).unwrap_err(),
            KeyringError::DuplicateId(3)
        );
    }

    #[test]
    fn a_blind_index_depends_on_purpose_text_and_key() {
        let index = ring().blind_index("account", "NO9386011117947");
        assert_eq!(index, ring().blind_index("account", "NO9386011117947"));
        let other_key = Keyring::new(1, &[8; 32], &[]).unwrap();
        let others = [
            ring().blind_index("creditor", "NO9386011117947"),
            ring().blind_index("account", "NO9386011117948"),
            other_key.blind_index("account", "NO9386011117947"),
        ];
        assert!(others.iter().all(|other| *other != index));
    }

    #[test]
    fn nonces_and_tokens_do_not_repeat() {
        let ring = ring();
        let nonces: HashSet<Vec<u8>> = (0..10_000)
            .map(|_| ring.seal(COLUMN, Uuid::nil(), b"")[1..13].to_vec())
            .collect();
        assert_eq!(nonces.len(), 10_000);
        let token = ring.random_token();
        assert_eq!(token.expose_secret().len(), 43);
        assert_ne!(token.expose_secret(), ring.random_token().expose_secret());
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", ring()), "Keyring { current: 1, .. }");
    }

    #[test]
    fn base64url_is_rfc_4648_without_padding() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64url(bytes.as_bytes()), text);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }
}
