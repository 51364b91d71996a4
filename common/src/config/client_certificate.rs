use std::{fs, io, path::PathBuf, time::Duration};

use secrecy::SecretString;

use super::reader::Reader;

/// What proves us to a provider while TLS connects, and how often its files are looked at again: it has a successor every
/// year, and a restart is not needed for that.
#[derive(Debug, Clone)]
pub struct ClientCertificateConfig {
    /// `NEONOMICS_CLIENT_CERT`, PEM, default none: the certificate (eIDAS QWAC), then those that lead to its authority.
    pub certificate: PemSource,
    /// `NEONOMICS_CLIENT_KEY`, PEM, default none: the certificate's key, not encrypted.
    pub key: PemSource,
}

/// Where a text in PEM is.
#[derive(Debug, Clone)]
pub enum PemSource {
    /// In the variable itself: only a restart changes it.
    Given(SecretString),
    /// In the file that the variable's `_FILE` names, which may be replaced at any time.
    File(PathBuf),
}

impl PemSource {
    /// The text as it is now.
    pub fn read(&self) -> io::Result<SecretString> {
        match self {
            Self::Given(text) => Ok(text.clone()),
            Self::File(path) => fs::read_to_string(path).map(SecretString::from),
        }
    }
}

impl ClientCertificateConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (certificate, key) = (reader.pem("NEONOMICS_CLIENT_CERT"), reader.pem("NEONOMICS_CLIENT_KEY"));
        match (certificate, key) {
            (Some(certificate), Some(key)) => Some(Self { certificate, key }),
            (None, None) => None,
            (Some(_), None) => {
                reader.problem("NEONOMICS_CLIENT_KEY", "is required with NEONOMICS_CLIENT_CERT");
                None
            }
            (None, Some(_)) => {
                reader.problem("NEONOMICS_CLIENT_CERT", "is required with NEONOMICS_CLIENT_KEY");
                None
            }
        }
    }

    pub(super) fn look_every(reader: &mut Reader<'_>) -> Duration {
        reader.seconds("NEONOMICS_CLIENT_CERT_LOOK_S", 60, 1..=3_600)
    }
}
