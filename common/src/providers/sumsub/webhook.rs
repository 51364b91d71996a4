//! Who sent a webhook: an HMAC over the raw body bytes, checked before anything else is done.

use hmac::{Hmac, KeyInit, Mac};
use ring::hmac as ring_hmac;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Sha256, Sha512};

/// The secrets a digest may be made with.
pub struct Secrets<'s> {
    /// `SUMSUB_SECRET_KEY`.
    pub current: &'s SecretString,
    /// The one before, during a rotation.
    pub previous: Option<&'s SecretString>,
    /// Whether the legacy `HMAC_SHA1_HEX` is accepted.
    pub allow_sha1: bool,
}

/// Which secret made the digest; the use of the previous one is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedWith {
    /// The current secret.
    Current,
    /// The previous secret.
    Previous,
}

/// Why a digest is not believed. All of them are 401 `invalid_signature`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// No header, or an empty one.
    #[error("the digest is missing")]
    Missing,
    /// Not hex, or not the algorithm's length.
    #[error("the digest is malformed")]
    Malformed,
    /// `X-Payload-Digest-Alg` names something we do not accept.
    #[error("the digest's algorithm is not accepted")]
    Algorithm,
    /// Made with another secret or over another body.
    #[error("the digest does not match the body")]
    Mismatch,
}

/// Checks `X-Payload-Digest` (`digest`) over the raw body in constant time. `algorithm` is
/// `X-Payload-Digest-Alg`; absent means SHA-256. Two digest headers are the caller's to refuse.
pub fn verify(
    raw: &[u8],
    digest: Option<&str>,
    algorithm: Option<&str>,
    secrets: &Secrets<'_>,
) -> Result<SignedWith, DigestError> {
    let algorithm = Algorithm::parse(algorithm, secrets.allow_sha1)?;
    let digest = digest.filter(|digest| !digest.is_empty()).ok_or(DigestError::Missing)?;
    let tag = unhex(digest)
        .filter(|tag| tag.len() == algorithm.length())
        .ok_or(DigestError::Malformed)?;
    if algorithm.matches(secrets.current, raw, &tag) {
        return Ok(SignedWith::Current);
    }
    match secrets.previous {
        Some(previous) if algorithm.matches(previous, raw, &tag) => Ok(SignedWith::Previous),
        Some(_) | None => Err(DigestError::Mismatch),
    }
}

#[derive(Clone, Copy)]
enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    fn parse(name: Option<&str>, allow_sha1: bool) -> Result<Self, DigestError> {
        match name {
            None | Some("HMAC_SHA256_HEX") => Ok(Self::Sha256),
            Some("HMAC_SHA512_HEX") => Ok(Self::Sha512),
            Some("HMAC_SHA1_HEX") if allow_sha1 => Ok(Self::Sha1),
            Some(_) => Err(DigestError::Algorithm),
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn matches(self, secret: &SecretString, raw: &[u8], tag: &[u8]) -> bool {
        let key = secret.expose_secret().as_bytes();
        // An empty key is one that everybody knows.
        if key.is_empty() {
            return false;
        }
        match self {
            Self::Sha1 => {
                let key = ring_hmac::Key::new(ring_hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
                ring_hmac::verify(&key, raw, tag).is_ok()
            }
            Self::Sha256 => {
                let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key length");
                mac.chain_update(raw).verify_slice(tag).is_ok()
            }
            Self::Sha512 => {
                let mac = Hmac::<Sha512>::new_from_slice(key).expect("HMAC takes any key length");
                mac.chain_update(raw).verify_slice(tag).is_ok()
            }
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?))
        .collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use secrecy::SecretString;

    use super::{DigestError, Secrets, SignedWith, verify};

    const BODY: &[u8] = br#"{"type":"applicantPending"}"#;
    const DIGEST: &str = "bcea8440531c3ac18ef2ced9913beb8117ba048093acc1647b6325bcbecb5f66";

    fn check(
        raw: &[u8],
        digest: Option<&str>,
        algorithm: Option<&str>,
        secret: &str,
    ) -> Result<SignedWith, DigestError> {
        let current = SecretString::from(secret);
        verify(
            raw,
            digest,
            algorithm,
            &Secrets {
                current: &current,
                previous: None,
                allow_sha1: false,
            },
        )
    }

    #[test]
    fn the_check_value_is_accepted_in_either_letter_case() {
        let upper = DIGEST.to_uppercase();
        for (digest, algorithm) in [
            (DIGEST, None),
            (DIGEST, Some("HMAC_SHA256_HEX")),
            (upper.as_str(), None),
        ] {
            assert_eq!(
                check(BODY, Some(digest), algorithm, "test-webhook-secret"),
                Ok(SignedWith::Current)
            );
        }
    }

    #[test]
    fn the_published_sha1_value_is_accepted_only_where_configured() {
        let current = SecretString::from("SoMe_SeCrEt_KeY");
        let digest = Some("f6e92ffe371718694d46e28436f76589312df8db");
        let mut secrets = Secrets {
            current: &current,
            previous: None,
            allow_sha1: true,
        };
        assert_eq!(
            verify(b"someText", digest, Some("HMAC_SHA1_HEX"), &secrets),
            Ok(SignedWith::Current)
        );
        secrets.allow_sha1 = false;
        assert_eq!(
            verify(b"someText", digest, Some("HMAC_SHA1_HEX"), &secrets),
            Err(DigestError::Algorithm)
        );
    }

    #[rstest]
    #[case(None, None, DigestError::Missing)]
    #[case(Some(""), None, DigestError::Missing)]
    #[case(Some("bcea"), None, DigestError::Malformed)]
    #[case(
        Some("zcea8440531c3ac18ef2ced9913beb8117ba048093acc1647b6325bcbecb5f66"),
        None,
        DigestError::Malformed
    )]
    #[case(Some("vOqEQFMcOsGO8s7ZkTvrgRe6BICTrMFke2Mly77LX2Y="), None, DigestError::Malformed)]
    #[case(
        Some("æcea8440531c3ac18ef2ced9913beb8117ba048093acc1647b6325bcbecb5f66"),
        None,
        DigestError::Malformed
    )]
    #[case(
        Some("bcea8440531c3ac18ef2ced9913beb8117ba048093acc1647b6325bcbecb5f6600"),
        None,
        DigestError::Malformed
    )]
    #[case(
        Some("0cea8440531c3ac18ef2ced9913beb8117ba048093acc1647b6325bcbecb5f66"),
        None,
        DigestError::Mismatch
    )]
    #[case(Some(DIGEST), Some("none"), DigestError::Algorithm)]
    #[case(Some(DIGEST), Some(""), DigestError::Algorithm)]
    #[case(Some(DIGEST), Some("HMAC_SHA512_HEX"), DigestError::Malformed)]
    fn anything_else_is_refused(
        #[case] digest: Option<&str>,
        #[case] algorithm: Option<&str>,
        #[case] error: DigestError,
    ) {
        assert_eq!(check(BODY, digest, algorithm, "test-webhook-secret"), Err(error));
    }

    #[test]
    fn another_body_or_an_empty_secret_is_refused() {
        assert_eq!(
            check(b"{}", Some(DIGEST), None, "test-webhook-secret"),
            Err(DigestError::Mismatch)
        );
        let of_empty_key = "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad";
        assert_eq!(check(b"", Some(of_empty_key), None, ""), Err(DigestError::Mismatch));
    }

    #[test]
    fn the_previous_secret_is_accepted_and_named() {
        let (current, previous) = (SecretString::from("new"), SecretString::from("test-webhook-secret"));
        let secrets = Secrets {
            current: &current,
            previous: Some(&previous),
            allow_sha1: false,
        };
        assert_eq!(verify(BODY, Some(DIGEST), None, &secrets), Ok(SignedWith::Previous));
    }
}
