//! A provider of logins that is not ours: the certified npm package `oidc-provider`, in a process of its own
//! (`tests/oidc/provider.mjs`), and the browser of a person who logs in there.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context;
use reqwest::{
    Url,
    header::{COOKIE, LOCATION, SET_COOKIE},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Mutex,
};

use crate::{
    npm,
    person::{Answer, browser},
};

const PROGRAM: &str = include_str!("../oidc/provider.mjs");
const MANIFEST: &str = include_str!("../oidc/package.json");
const LOCKFILE: &str = include_str!("../oidc/package-lock.json");

const CLIENT_ID: &str = "drop-test";
const CLIENT_SECRET: &str = "certified-provider-test-secret";
const NEEDED: &str =
    "the login against a certified OpenID provider needs Node.js 18 or later and npm (Debian: apt-get install npm)";

/// The login page, a resumption and the way back are three; more is a circle.
const MOST_REDIRECTS: usize = 6;

/// The running provider. It ends when this is dropped.
pub struct OpenIdProvider {
    /// Its name for itself, and where it is.
    pub issuer: String,
    channel: Mutex<Channel>,
    _process: Child,
}

impl OpenIdProvider {
    /// Starts it on a free port.
    ///
    /// `None` on a machine that has PostgreSQL and no npm, which is enough for all other tests; the test then says that
    /// it did not run. With `CI=true` that is a failure.
    pub async fn start() -> Option<Self> {
        let place = place().expect("a cache");
        if !npm::runs("node") || !place.exists() && !npm::runs("npm") {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{NEEDED}");
            // Past the test runner, which swallows what a passing test prints.
            let _ = writeln!(std::io::stderr(), "not run: {NEEDED}");
            return None;
        }
        install(&place).await.expect("npm installs the provider");
        Some(Self::run(&place).await.expect("the provider starts"))
    }

    async fn run(packages: &Path) -> anyhow::Result<Self> {
        // Handed over as text, node looks for the package in its folder, and nothing has to be copied there.
        let mut process = Command::new("node")
            .args(["--input-type=module", "--eval", PROGRAM, CLIENT_ID, CLIENT_SECRET])
            .current_dir(packages)
            .env_remove("NODE_OPTIONS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut channel = Channel {
            commands: process.stdin.take().context("its input")?,
            answers: BufReader::new(process.stdout.take().context("its output")?).lines(),
        };
        let first = channel.answer().await?;
        Ok(Self {
            issuer: first["issuer"].as_str().context("an issuer")?.to_owned(),
            channel: Mutex::new(channel),
            _process: process,
        })
    }

    /// The variables of a service that logs people in here. The endpoints are not where the contract has them.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let endpoints = [
            ("BANKID_AUTHORIZATION_URL", format!("{}/auth", self.issuer)),
            ("BANKID_TOKEN_URL", format!("{}/token", self.issuer)),
            ("BANKID_JWKS_URL", format!("{}/jwks", self.issuer)),
        ];
        self.variables_of_a_client().into_iter().chain(endpoints).collect()
    }

    /// The same without the endpoints, which are then to be found.
    pub fn variables_of_a_client(&self) -> Vec<(&'static str, String)> {
        vec![
            ("BANKID_ISSUER", self.issuer.clone()),
            ("BANKID_CLIENT_ID", CLIENT_ID.into()),
            ("BANKID_CLIENT_SECRET", CLIENT_SECRET.into()),
        ]
    }

    /// Makes the service that is reached at `url` its client.
    pub async fn register(&self, url: &str) {
        let back = format!("{url}/api/auth/bankid/callback");
        self.command(&json!({ "do": "register", "redirect_uri": back })).await;
    }

    /// Knows its client by this public key from here on, and no longer by its secret.
    pub async fn know_client_by(&self, key: &Value) {
        self.command(&json!({ "do": "know_by_key", "key": key })).await;
    }

    /// Signs with `ES256` or `RS256` from the next token on.
    pub async fn sign_with(&self, algorithm: &str) {
        self.command(&json!({ "do": "sign_with", "algorithm": algorithm }))
            .await;
    }

    /// Publishes new keys and withdraws the old ones.
    pub async fn rotate_keys(&self) {
        self.command(&json!({ "do": "rotate" })).await;
    }

    /// What was asked at one of `discovery`, `authorization`, `token` and `jwks`, and what it answered.
    pub async fn record_of(&self, route: &str) -> Vec<Value> {
        let mut record = self.command(&json!({ "do": "record" })).await;
        let requests = record["requests"].take();
        let Value::Array(requests) = requests else {
            panic!("no record: {requests}");
        };
        requests
            .into_iter()
            .filter(|request| request["route"] == route)
            .collect()
    }

    /// Logs a person in at this page; where the browser is sent back to.
    pub async fn sign_in(&self, authorization_url: &str, person: &str) -> String {
        self.walk(authorization_url, ("person", person)).await
    }

    /// Presses cancel on this page; where the browser is sent back to.
    pub async fn cancel(&self, authorization_url: &str) -> String {
        self.walk(authorization_url, ("cancel", "yes")).await
    }

    /// A token request of its client with these fields.
    pub async fn ask_for_tokens(&self, fields: &[(&str, &str)]) -> Answer {
        let client = [
            ("grant_type", "authorization_code"),
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
        ];
        let request = browser().post(format!("{}/token", self.issuer));
        let request = request.form(&[client.as_slice(), fields].concat());
        Answer::of(request.send().await.expect("an answer")).await
    }

    /// Follows redirects in a fresh browser, answers the login page, and stops at the door of the service.
    async fn walk(&self, authorization_url: &str, answer: (&str, &str)) -> String {
        let home = Url::parse(&self.issuer).expect("the issuer is a URL").origin();
        let mut url = Url::parse(authorization_url).expect("a URL");
        let (browser, mut cookies) = (browser(), BTreeMap::new());
        for _ in 0..MOST_REDIRECTS {
            if url.origin() != home {
                return url.into();
            }
            let request = if url.path().starts_with("/interaction/") {
                browser.post(url.clone()).form(&[answer])
            } else {
                browser.get(url.clone())
            };
            let held = cookies.iter().map(|(name, value)| format!("{name}={value}"));
            let held = held.collect::<Vec<_>>().join("; ");
            let response = request.header(COOKIE, held).send().await.expect("an answer");
            for cookie in response.headers().get_all(SET_COOKIE) {
                let pair = cookie.to_str().expect("text").split(';').next();
                let (name, value) = pair.and_then(|pair| pair.split_once('=')).expect("a cookie");
                cookies.insert(name.to_owned(), value.to_owned());
            }
            assert_eq!(response.status(), 303, "{}", response.text().await.unwrap_or_default());
            let next = response.headers()[LOCATION].to_str().expect("text");
            url = url.join(next).expect("a URL");
        }
        panic!("the provider sends the browser in a circle");
    }

    async fn command(&self, command: &Value) -> Value {
        let mut channel = self.channel.lock().await;
        let line = format!("{command}\n");
        channel
            .commands
            .write_all(line.as_bytes())
            .await
            .expect("it takes commands");
        channel.answer().await.expect("it answers")
    }
}

/// One JSON value a line, in both directions.
struct Channel {
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Channel {
    async fn answer(&mut self) -> anyhow::Result<Value> {
        let line = self.answers.next_line().await?.context("the provider has ended")?;
        Ok(serde_json::from_str(&line)?)
    }
}

/// Another lock file is another place.
fn place() -> anyhow::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    LOCKFILE.hash(&mut hasher);
    npm::cache(&format!("drop-oidc-provider-{:016x}", hasher.finish()))
}

/// Tests that start together wait for one download.
async fn install(place: &Path) -> anyhow::Result<()> {
    static ONE: Mutex<()> = Mutex::const_new(());
    let _one = ONE.lock().await;
    npm::install(place, MANIFEST, LOCKFILE, |_, _| Ok(())).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned_by_a_digest() {
        let lock: Value = serde_json::from_str(LOCKFILE).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        for (path, package) in packages.iter().filter(|(path, _)| !path.is_empty()) {
            assert!(package["integrity"].as_str().unwrap().starts_with("sha512-"), "{path}");
        }
        let wanted: Value = serde_json::from_str(MANIFEST).unwrap();
        let provider = &packages["node_modules/oidc-provider"]["version"];
        assert_eq!(&wanted["dependencies"]["oidc-provider"], provider);
    }
}
