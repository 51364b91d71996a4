use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::{ConfigError, Environment, reader::Reader};

/// Where the rows live.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `DATABASE_URL`. Required; `postgres://…`. Production wants `sslmode=verify-full`.
    pub url: SecretString,
    /// `DATABASE_POOL_SIZE`, connections, default 10 in the API, in a worker one for five slots and at least 10: jobs hold
    /// one only while they write, and hundreds of connections slow the server down.
    pub pool_size: u32,
    /// `DATABASE_ACQUIRE_TIMEOUT_MS`, milliseconds, default 1000 in the API, where an answer of 503 beats a pile-up, and
    /// 5000 in a worker, where what a provider answered must be written down.
    pub acquire_timeout: Duration,
}

/// What a process's pool is like unless it is told otherwise.
#[derive(Clone, Copy)]
pub(super) struct PoolDefaults {
    size: u32,
    acquire_ms: u64,
}

impl PoolDefaults {
    pub(super) const API: Self = Self {
        size: 10,
        acquire_ms: 1_000,
    };

    /// For a worker that runs so many jobs at a time.
    pub(super) fn worker(slots: usize) -> Self {
        Self {
            size: u32::try_from(slots.div_ceil(5))
                .unwrap_or(MOST_CONNECTIONS)
                .clamp(10, MOST_CONNECTIONS),
            acquire_ms: 5_000,
        }
    }
}

const MOST_CONNECTIONS: u32 = 200;

impl DatabaseConfig {
    /// The database alone, for a process that runs no jobs.
    pub fn alone(environment: &Environment) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(environment);
        let config = Self::read(&mut reader, PoolDefaults::worker(0));
        reader.finish(config)
    }

    pub(super) fn read(reader: &mut Reader<'_>, defaults: PoolDefaults) -> Self {
        let url = reader.secret("DATABASE_URL");
        check(reader, url.expose_secret());
        Self {
            url,
            pool_size: reader.number("DATABASE_POOL_SIZE", defaults.size, 1..=MOST_CONNECTIONS),
            acquire_timeout: reader.millis("DATABASE_ACQUIRE_TIMEOUT_MS", defaults.acquire_ms, 100..=60_000),
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
