//! The certificate that proves us while TLS connects (eIDAS QWAC), from PEM.

use std::{fmt, io};

use chrono::{DateTime, NaiveDateTime, Utc};
use reqwest::Identity;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::ProviderError;
use crate::config::ClientCertificateConfig;

/// The two texts as they are now; [`ClientCertificate`] once they are known to be what they should.
pub(crate) struct UncheckedCertificate {
    certificate: SecretString,
    key: SecretString,
}

/// A certificate that can be shown, with its key.
#[derive(Clone)]
pub(crate) struct ClientCertificate {
    identity: Identity,
    validity: Validity,
    fingerprint: [u8; 32],
}

/// Why a certificate is not used. Holds nothing of the files.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// One of the files is not there, or not text.
    #[error("a file cannot be read")]
    Unreadable(#[from] io::Error),
    /// No certificate in PEM, or none that says until when it is valid.
    #[error("there is no readable certificate in it")]
    NoCertificate,
    /// No key in PEM, or another one's, or one that cannot sign.
    #[error("certificate and key cannot be used together")]
    Unusable,
    /// Its time has not come.
    #[error("it is not valid yet")]
    Early,
    /// Its time is over.
    #[error("it has ended")]
    Ended,
    /// The provider gave it no access token: it does not know it, or does not answer at present.
    #[error("no access token was given to it: {0}")]
    NotAccepted(#[source] ProviderError),
}

impl UncheckedCertificate {
    /// Reads both texts.
    pub(crate) fn read(config: &ClientCertificateConfig) -> Result<Self, CertificateError> {
        Ok(Self {
            certificate: config.certificate.read()?,
            key: config.key.read()?,
        })
    }

    /// Tells two pairs of texts apart.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for text in [&self.certificate, &self.key] {
            hash.update(Sha256::digest(text.expose_secret()));
        }
        hash.finalize().into()
    }

    /// Whether the two belong together is found out by the client that is built with them.
    pub(crate) fn check(&self) -> Result<ClientCertificate, CertificateError> {
        let certificate = self.certificate.expose_secret();
        let first = CertificateDer::pem_slice_iter(certificate.as_bytes()).next();
        let first = first.and_then(Result::ok).ok_or(CertificateError::NoCertificate)?;
        let validity = Validity::of(&first).ok_or(CertificateError::NoCertificate)?;
        let pem = SecretString::from(format!("{certificate}\n{}", self.key.expose_secret()));
        let identity = Identity::from_pem(pem.expose_secret().as_bytes()).map_err(|_| CertificateError::Unusable)?;
        Ok(ClientCertificate {
            identity,
            validity,
            fingerprint: self.fingerprint(),
        })
    }
}

impl ClientCertificate {
    /// For the client that shows it.
    pub(super) fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// Until when it is valid.
    pub(crate) fn ends(&self) -> DateTime<Utc> {
        self.validity.ends
    }

    /// As [`UncheckedCertificate::fingerprint`].
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Whether it may be shown at `now`.
    pub(crate) fn is_valid(&self, now: DateTime<Utc>) -> Result<(), CertificateError> {
        if now < self.validity.begins {
            Err(CertificateError::Early)
        } else if now > self.validity.ends {
            Err(CertificateError::Ended)
        } else {
            Ok(())
        }
    }
}

/// Holds a key.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// From when until when a certificate is valid, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Validity {
    begins: DateTime<Utc>,
    ends: DateTime<Utc>,
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

impl Validity {
    /// Reads a certificate up to its fifth or sixth field (RFC 5280, 4.1). It is our own and nothing is trusted because of
    /// it, so that is all of X.509 that is needed here; no TLS library tells when a certificate ends.
    fn of(certificate: &[u8]) -> Option<Self> {
        let (signed, _) = element(certificate, SEQUENCE)?;
        let (fields, _) = element(signed, SEQUENCE)?;
        let rest = element(fields, VERSION).map_or(fields, |(_, rest)| rest);
        let (_serial, rest) = element(rest, INTEGER)?;
        let (_algorithm, rest) = element(rest, SEQUENCE)?;
        let (_issuer, rest) = element(rest, SEQUENCE)?;
        let (validity, _) = element(rest, SEQUENCE)?;
        let (begins, rest) = time(validity)?;
        let (ends, _) = time(rest)?;
        Some(Self { begins, ends })
    }
}

/// The contents of the first element, if it has this tag, and what follows it (X.690, 8.1).
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    (*found == tag).then_some(())?;
    rest.split_at_checked(length)
}

/// A time in either form (RFC 5280, 4.1.2.5), and what follows it.
fn time(bytes: &[u8]) -> Option<(DateTime<Utc>, &[u8])> {
    let (text, rest) = if let Some((digits, rest)) = element(bytes, UTC_TIME) {
        let digits = str::from_utf8(digits).ok()?;
        let century = if digits.get(..2)? < "50" { "20" } else { "19" };
        (format!("{century}{digits}"), rest)
    } else {
        let (digits, rest) = element(bytes, GENERALIZED_TIME)?;
        (str::from_utf8(digits).ok()?.to_owned(), rest)
    };
    let time = NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok()?;
    Some((time.and_utc(), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::Validity;

    fn certificate(from: (i32, u8, u8), until: (i32, u8, u8)) -> Vec<u8> {
        let mut params = CertificateParams::new(["drop.example".to_owned()]).expect("a name");
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().to_vec()
    }

    #[test]
    fn a_certificates_days_are_read_in_both_forms_of_a_time() {
        for (from, until) in [
            ((1999, 12, 31), (2000, 1, 1)),
            ((2026, 2, 23), (2027, 2, 24)),
            ((2049, 12, 31), (2050, 1, 1)),
        ] {
            let validity = Validity::of(&certificate(from, until)).expect("readable");
            let day = |(year, month, day)| format!("{year}-{month:02}-{day:02}T00:00:00Z").parse().ok();
            assert_eq!((Some(validity.begins), Some(validity.ends)), (day(from), day(until)));
        }
    }

    #[test]
    fn a_certificate_that_is_cut_off_before_its_days_has_none() {
        let whole = certificate((2026, 2, 23), (2027, 2, 24));
        assert!((0..100).all(|length| Validity::of(&whole[..length]).is_none()));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0_usize..600) {
            let _any = Validity::of(&bytes);
            let mut broken = certificate((2026, 2, 23), (2027, 2, 24));
            let at = at % broken.len();
            broken[at] ^= bytes.first().copied().unwrap_or(1);
            let _any = Validity::of(&broken);
        }
    }
}
