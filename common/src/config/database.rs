use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::{ConfigError, Environment, reader::Reader};

/// Where the rows live.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `DATABASE_URL`. Required; `postgres://…`. Production wants `sslmode=verify-full`.
    pub url: SecretString,
    /// `DATABASE_POOL_SIZE`, connections, default 10.
    pub pool_size: u32,
    /// `DATABASE_ACQUIRE_TIMEOUT_MS`, milliseconds, default 3000: an answer of 503 beats a pile-up.
    pub acquire_timeout: Duration,
}

impl DatabaseConfig {
    /// The database alone, for a process that only migrates.
    pub fn alone(environment: &Environment) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(environment);
        let config = Self::read(&mut reader);
        reader.finish(config)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let url = reader.secret("DATABASE_URL");
        check(reader, url.expose_secret());
        Self {
            url,
            pool_size: reader.number("DATABASE_POOL_SIZE", 10, 1..=200),
            acquire_timeout: reader.millis("DATABASE_ACQUIRE_TIMEOUT_MS", 3_000, 100..=60_000),
        }
    }
}

fn check(reader: &mut Reader<'_>, text: &str) {
    if text.is_empty() {
        return;
    }
    let Some(url) = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "postgres" | "postgresql"))
    else {
        reader.problem("DATABASE_URL", "is not a postgres:// URL");
        return;
    };
    // Every mention must be the strict one: a second `sslmode` could otherwise win.
    let modes: Vec<_> = url
        .query_pairs()
        .filter(|(name, _)| name == "sslmode" || name == "ssl-mode")
        .collect();
    let strict = !modes.is_empty() && modes.iter().all(|(_, mode)| mode == "verify-full");
    if reader.profile.is_production() && !strict {
        reader.problem("DATABASE_URL", "must say sslmode=verify-full in production");
    }
}
