use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::{ConfigError, Environment, Profile, Reader, is_loopback_http};
use crate::telemetry::LogFormat;

/// Logs and reports.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// `DROP_LOG_FORMAT`: `text` or `json`, one object a line. Default `text` in the local profile and on a terminal, else
    /// `json`.
    pub log_format: LogFormat,
    /// Where errors, alerts and timings are reported; `None`: nowhere.
    pub sentry: Option<SentryConfig>,
}

/// Reports to Sentry.
#[derive(Debug, Clone)]
pub struct SentryConfig {
    /// `SENTRY_DSN`, default none; so is an empty one, and a file that is not there.
    pub dsn: SecretString,
    /// `SENTRY_TRACES_SAMPLE_RATE`, default 0.1 in production and 1 elsewhere: which share of requests and jobs is timed.
    pub traces_sample_rate: f32,
    /// The environment that reports are filed under.
    pub profile: Profile,
}

impl TelemetryConfig {
    /// This alone, before anything else is read.
    pub fn alone(environment: &Environment) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(environment);
        let config = Self::read(&mut reader);
        reader.finish(config)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            log_format: log_format(reader),
            sentry: sentry(reader),
        }
    }
}

fn log_format(reader: &mut Reader<'_>) -> LogFormat {
    let suited = LogFormat::suited(reader.profile.is_local());
    match reader.text("DROP_LOG_FORMAT").as_deref() {
        None => suited,
        Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(_) => {
            reader.problem("DROP_LOG_FORMAT", "is neither text nor json");
            suited
        }
    }
}

fn sentry(reader: &mut Reader<'_>) -> Option<SentryConfig> {
    let usual = if reader.profile.is_production() { 0.1 } else { 1.0 };
    let traces_sample_rate = reader.number("SENTRY_TRACES_SAMPLE_RATE", usual, 0.0..=1.0);
    let dsn = reader.secret_if_any("SENTRY_DSN")?;
    if !is_dsn(dsn.expose_secret(), reader.profile) {
        reader.problem("SENTRY_DSN", "is not a Sentry DSN over https");
        return None;
    }
    Some(SentryConfig {
        dsn,
        traces_sample_rate,
        profile: reader.profile,
    })
}

/// Plain text only towards this machine, and never in production.
fn is_dsn(text: &str, profile: Profile) -> bool {
    let reached_well =
        Url::parse(text).is_ok_and(|url| url.scheme() == "https" || !profile.is_production() && is_loopback_http(&url));
    reached_well && text.parse::<sentry::types::Dsn>().is_ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(profile: &str, changes: &[(&str, &str)]) -> Result<TelemetryConfig, ConfigError> {
        let environment = changes
            .iter()
            .copied()
            .chain([("DROP_PROFILE", profile)])
            .collect::<Environment>();
        TelemetryConfig::alone(&environment)
    }

    #[test]
    fn without_a_dsn_nothing_is_reported() {
        let empty = std::env::temp_dir().join(format!("drop-no-dsn-{}", uuid::Uuid::now_v7()));
        std::fs::write(&empty, "\n").unwrap();
        for variables in [
            vec![],
            vec![("SENTRY_DSN", "")],
            vec![("SENTRY_DSN_FILE", empty.to_str().unwrap())],
            vec![("SENTRY_DSN_FILE", "/run/drop/sentry/no-such-file")],
        ] {
            assert!(
                read("production", &variables).unwrap().sentry.is_none(),
                "{variables:?}"
            );
        }
        std::fs::remove_file(&empty).unwrap();
        let unreadable = read("production", &[("SENTRY_DSN_FILE", "/")]).unwrap_err().problems;
        assert_eq!(unreadable[0].variable, "SENTRY_DSN_FILE", "a folder is a mistake");
    }

    #[rstest]
    #[case("production", &[], 0.1)]
    #[case("staging", &[], 1.0)]
    #[case("production", &[("SENTRY_TRACES_SAMPLE_RATE", "0.25")], 0.25)]
    fn a_tenth_is_timed_in_production_and_everything_in_staging_unless_it_is_said_otherwise(
        #[case] profile: &str,
        #[case] changes: &[(&str, &str)],
        #[case] rate: f32,
    ) {
        let dsn = [("SENTRY_DSN", "https://key@o1.ingest.sentry.io/2")];
        let config = read(profile, &[&dsn, changes].concat()).unwrap().sentry.unwrap();
        assert!((config.traces_sample_rate - rate).abs() < f32::EPSILON);
        assert!(!format!("{config:?}").contains("key@"), "the DSN is shown");
    }

    #[rstest]
    #[case("SENTRY_DSN", "https://o1.ingest.sentry.io/2")]
    #[case("SENTRY_DSN", "https://key@o1.ingest.sentry.io/")]
    #[case("SENTRY_DSN", "http://key@127.0.0.1/2")]
    #[case("SENTRY_TRACES_SAMPLE_RATE", "1.5")]
    #[case("SENTRY_TRACES_SAMPLE_RATE", "NaN")]
    #[case("DROP_LOG_FORMAT", "xml")]
    fn what_is_set_wrongly_is_refused_by_its_name(#[case] name: &str, #[case] value: &str) {
        let problems = read("production", &[(name, value)]).unwrap_err().problems;
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].variable, name);
    }
}
