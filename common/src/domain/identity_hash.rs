//! What stands in the user row instead of a national id: `users.national_id_hash` (contract 3.1).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::national_id::NationalId;

/// 64 hex characters that tell one person from another. Eleven digits can be guessed, so the hash is personal data too:
/// its `Debug` hides it and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityHash(String);

impl IdentityHash {
    /// The hash of a national id. With a pepper HMAC-SHA-256 over `no.fnr:` and the digits; without one the plain
    /// SHA-256 that the contract names, which production does not allow.
    pub fn of_national_id(id: &NationalId, pepper: Option<&[u8]>) -> Self {
        match pepper {
            Some(pepper) => Self::keyed(pepper, &[b"no.fnr:", id.digits_secret()]),
            None => Self::plain(&[id.digits_secret()]),
        }
    }

    /// The hash of a provider's subject, for a login without a national id. The prefix keeps it apart from every
    /// national id's hash, whatever the subject looks like.
    pub fn of_subject(issuer: &str, subject: &str, pepper: Option<&[u8]>) -> Self {
        let parts: [&[u8]; 4] = [b"bankid.sub:", issuer.as_bytes(), &[0], subject.as_bytes()];
        match pepper {
            Some(pepper) => Self::keyed(pepper, &parts),
            None => Self::plain(&parts),
        }
    }

    /// The hex text, for the row's column and for nothing else.
    pub fn hex_secret(&self) -> &str {
        &self.0
    }

    fn keyed(pepper: &[u8], parts: &[&[u8]]) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(pepper).expect("HMAC takes a key of any length");
        for part in parts {
            mac.update(part);
        }
        Self(hex(&mac.finalize().into_bytes()))
    }

    fn plain(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        Self(hex(&hash.finalize()))
    }
}

impl fmt::Debug for IdentityHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityHash(hidden)")
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::national_id::{Accepted, Synthetic};

    const PEPPER: &[u8] = b"test-pepper-not-for-production-0";

    fn id(text: &str) -> NationalId {
        let synthetic = Synthetic {
            tenor: true,
            ..Synthetic::default()
        };
        NationalId::parse(
            text,
            &Accepted {
                synthetic,
                ..Accepted::default()
            },
        )
        .unwrap()
    }

    #[test]
    fn the_hash_without_pepper_is_the_contracts_sha_256() {
        let hash = IdentityHash::of_national_id(&id("13897249477"), None);
        assert_eq!(
            hash.hex_secret(),
            "5daef2d3cc7462642b50acbf097c7da1feca2333d1a2afbab99570c169b8cc01"
        );
    }

    #[test]
    fn the_hash_with_pepper_is_the_agreed_value() {
        let hash = IdentityHash::of_national_id(&id("13897249477"), Some(PEPPER));
        assert_eq!(
            hash.hex_secret(),
            "e337092a44b1bc2f879934c7bb40fcfbd70d95b33fad8ad73fb54d04a0b56073"
        );
    }

    #[test]
    fn a_subject_that_looks_like_a_number_never_reaches_that_persons_row() {
        for pepper in [None, Some(PEPPER)] {
            let person = IdentityHash::of_national_id(&id("13897249477"), pepper);
            assert_ne!(IdentityHash::of_subject("", "13897249477", pepper), person);
        }
    }

    #[test]
    fn issuer_and_subject_cannot_be_shifted_into_each_other() {
        for pepper in [None, Some(PEPPER)] {
            let hash = IdentityHash::of_subject("https://a", "bc", pepper);
            assert_ne!(hash, IdentityHash::of_subject("https://ab", "c", pepper));
            assert_eq!(hash, IdentityHash::of_subject("https://a", "bc", pepper));
            assert_eq!(hash.hex_secret().len(), 64);
        }
    }

    #[test]
    fn debug_shows_nothing_of_the_hash() {
        assert_eq!(
            format!("{:?}", IdentityHash::of_subject("i", "s", None)),
            "IdentityHash(hidden)"
        );
    }
}
