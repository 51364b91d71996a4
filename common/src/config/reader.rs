use std::{collections::BTreeSet, fmt, ops::RangeInclusive, path::Path, str::FromStr, time::Duration};

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::{Environment, PemSource, Profile};

/// Everything that is wrong with the configuration, at once. Holds names and rules, never values.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub struct ConfigError {
    /// One entry per problem, in the order in which the variables are read.
    pub problems: Vec<Problem>,
}

/// One variable and the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable's name.
    pub variable: String,
    /// What is wrong with it, without its value.
    pub rule: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} problem(s):", self.problems.len())?;
        for Problem { variable, rule } in &self.problems {
            write!(f, " {variable} {rule};")?;
        }
        Ok(())
    }
}

/// Reads variables and collects problems. A reading that fails gives a stand-in, which never
/// leaves this module's callers because [`Reader::finish`] then fails.
pub(super) struct Reader<'e> {
    environment: &'e Environment,
    problems: Vec<Problem>,
    pub(super) asked: BTreeSet<String>,
    pub(super) profile: Profile,
}

impl<'e> Reader<'e> {
    pub(super) fn new(environment: &'e Environment) -> Self {
        let mut reader = Self {
            environment,
            problems: Vec::new(),
            asked: BTreeSet::new(),
            profile: Profile::Production,
        };
        reader.profile = Profile::read(&mut reader);
        reader
    }

    pub(super) fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() {
            Ok(value)
        } else {
            Err(ConfigError {
                problems: self.problems,
            })
        }
    }

    pub(super) fn problem(&mut self, variable: &str, rule: &'static str) {
        self.problems.push(Problem {
            variable: variable.to_owned(),
            rule,
        });
    }

    /// `NAME`, or the content of the file that `NAME_FILE` names, without its last line break.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.asked.insert(name.to_owned());
        let file_name = format!("{name}_FILE");
        let direct = self.environment.get(name);
        let Some(path) = self.environment.get(&file_name) else {
            return direct.map(str::to_owned);
        };
        if direct.is_some() {
            self.problem(name, "is set both directly and by its _FILE variant");
            return None;
        }
        if let Ok(content) = std::fs::read_to_string(path) {
            return Some(content.trim_end_matches(['\n', '\r']).to_owned());
        }
        self.problem(&file_name, "names a file that cannot be read");
        // A stand-in, so that the variable is not reported as missing as well.
        Some("unreadable".to_owned())
    }

    /// `NAME`, or where the file is that `NAME_FILE` names: its content may change while the process runs.
    pub(super) fn pem(&mut self, name: &str) -> Option<PemSource> {
        let text = self.text(name)?;
        Some(match self.environment.get(&format!("{name}_FILE")) {
            Some(path) => PemSource::File(path.into()),
            None => PemSource::Given(text.into()),
        })
    }

    /// Whether `NAME` or `NAME_FILE` is there, whatever it holds.
    pub(super) fn is_set(&self, name: &str) -> bool {
        let is_there = |name: &str| self.environment.get(name).is_some();
        is_there(name) || is_there(&format!("{name}_FILE"))
    }

    pub(super) fn text_or(&mut self, name: &str, default: &str) -> String {
        self.text(name).unwrap_or_else(|| default.to_owned())
    }

    pub(super) fn required(&mut self, name: &str) -> String {
        let text = self.text(name).unwrap_or_default();
        if text.trim().is_empty() {
            self.problem(name, "is required");
        }
        text
    }

    /// A secret that must be there, and in production must not be a stand-in from an example.
    pub(super) fn secret(&mut self, name: &str) -> SecretString {
        let secret = SecretString::from(self.required(name));
        self.check_secret(name, &secret);
        secret
    }

    /// A secret that may be absent; an empty one is a problem, because an empty key signs nothing.
    pub(super) fn optional_secret(&mut self, name: &str) -> Option<SecretString> {
        let secret = SecretString::from(self.text(name)?);
        if secret.expose_secret().trim().is_empty() {
            self.problem(name, "is set but empty");
            return None;
        }
        self.check_secret(name, &secret);
        Some(secret)
    }

    /// A secret that may be left out: none is what is empty, and a file that is not there.
    pub(super) fn secret_if_any(&mut self, name: &str) -> Option<SecretString> {
        self.asked.insert(name.to_owned());
        let file = self.environment.get(&format!("{name}_FILE"));
        let is_missing = file.is_some_and(|path| matches!(Path::new(path).try_exists(), Ok(false)));
        if is_missing && self.environment.get(name).is_none() {
            return None;
        }
        let secret = SecretString::from(self.text(name)?);
        if secret.expose_secret().trim().is_empty() {
            return None;
        }
        self.check_secret(name, &secret);
        Some(secret)
    }

    fn check_secret(&mut self, name: &str, secret: &SecretString) {
        let lower = secret.expose_secret().to_ascii_lowercase();
        let stand_in = ["changeme", "change-me", "placeholder", "example", "<"]
            .iter()
            .any(|word| lower.starts_with(word));
        if self.profile.is_production() && stand_in {
            self.problem(name, "still holds a placeholder");
        }
    }

    pub(super) fn number<T>(&mut self, name: &str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromStr + PartialOrd + Copy,
    {
        let Some(text) = self.text(name) else { return default };
        match text.trim().parse::<T>() {
            Ok(number) if range.contains(&number) => number,
            Ok(_) => {
                self.problem(name, "is out of its range");
                default
            }
            Err(_) => {
                self.problem(name, "is not a number");
                default
            }
        }
    }

    pub(super) fn millis(&mut self, name: &str, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.number(name, default, range))
    }

    pub(super) fn seconds(&mut self, name: &str, default: u64, range: RangeInclusive<u64>) -> Duration {
        Duration::from_secs(self.number(name, default, range))
    }

    pub(super) fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.text(name).as_deref() {
            None => default,
            Some("true" | "1") => true,
            Some("false" | "0") => false,
            Some(_) => {
                self.problem(name, "is neither true nor false");
                default
            }
        }
    }

    /// A comma-separated list. Set but empty means an empty list.
    pub(super) fn list(&mut self, name: &str, default: &str) -> Vec<String> {
        let text = self.text_or(name, default);
        text.split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect()
    }

    pub(super) fn parsed<T: FromStr>(&mut self, name: &str, default: T, rule: &'static str) -> T {
        let Some(text) = self.text(name) else { return default };
        text.trim().parse().unwrap_or_else(|_| {
            self.problem(name, rule);
            default
        })
    }

    /// An https address; http only on loopback and only where `loopback_http` allows the sandbox.
    pub(super) fn url(&mut self, name: &str, default: Option<&str>, loopback_http: bool) -> String {
        let text = match default {
            Some(default) => self.text_or(name, default),
            None => self.required(name),
        };
        if text.is_empty() {
            if default.is_some() {
                self.problem(name, "is set but empty");
            }
            return text;
        }
        match Url::parse(&text) {
            Err(_) => self.problem(name, "is not an absolute URL"),
            Ok(url) if !url.username().is_empty() || url.password().is_some() => {
                self.problem(name, "must not hold credentials");
            }
            Ok(url) if url.scheme() == "https" || (loopback_http && is_loopback_http(&url)) => {}
            Ok(_) => self.problem(name, "must be https"),
        }
        text
    }
}

/// `http://` towards this machine: the only plain text that is ever allowed, and only for a sandbox.
pub(crate) fn is_loopback_http(url: &Url) -> bool {
    url.scheme() == "http"
        && url.host_str().is_some_and(|host| {
            host == "localhost"
                || host
                    .trim_matches(['[', ']'])
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        })
}

/// Host with port. The default port is written out, so that both spellings are one.
pub(crate) fn authority(url: &Url) -> Option<String> {
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
}
