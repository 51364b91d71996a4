//! Keys and passwords of one run. They are made at start, live in the children's environment and end with them.
use anyhow::anyhow;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::Ed25519KeyPair;

/// Makes secrets from the operating system's randomness.
pub(crate) struct Secrets(SystemRandom);

impl Secrets {
    /// A source of secrets.
    pub(crate) fn new() -> Self {
        Self(SystemRandom::new())
    }

    /// An Ed25519 key pair as base64 of its PKCS#8 form.
    pub(crate) fn signing_key(&self) -> anyhow::Result<String> {
        let pair = Ed25519KeyPair::generate_pkcs8(&self.0).map_err(|_| anyhow!("could not make a signing key"))?;
        Ok(base64(pair.as_ref()))
    }

    /// 32 random bytes as base64.
    pub(crate) fn bytes(&self) -> anyhow::Result<String> {
        Ok(base64(&self.random::<32>()?))
    }

    /// 16 random bytes in hex, for somebody to copy.
    pub(crate) fn token(&self) -> anyhow::Result<String> {
        Ok(hex(&self.random::<16>()?))
    }

    fn random<const LENGTH: usize>(&self) -> anyhow::Result<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        self.0
            .fill(&mut bytes)
            .map_err(|_| anyhow!("the operating system gave no random bytes"))?;
        Ok(bytes)
    }
}

/// What a token is compared by.
pub(crate) fn sha256(token: &str) -> String {
    hex(digest(&SHA256, token.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Standard base64 with padding (RFC 4648 section 4); the dependency set has no crate for it.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let sextet = (group >> (18 - 6 * position)) & 0x3f;
            text.push(if position <= chunk.len() {
                char::from(ALPHABET[sextet as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_gives_the_texts_of_the_standard() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn a_tokens_digest_is_that_of_the_standard() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256("abc"), abc);
    }

    #[test]
    fn no_two_secrets_are_alike() {
        let secrets = Secrets::new();
        assert_ne!(secrets.bytes().unwrap(), secrets.bytes().unwrap());
        assert_ne!(secrets.signing_key().unwrap(), secrets.signing_key().unwrap());
    }
}
