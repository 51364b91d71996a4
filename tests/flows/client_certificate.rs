//! The worker's client certificate for Neonomics: when it ends is shown, and its successor is taken without a restart. What
//! a provider that asks for it sees is tested beside the client.

#![expect(
    clippy::float_cmp,
    reason = "a metric's value is text, and the times compared here are exact in it"
)]

use std::path::{Path, PathBuf};

use drop_tests::{
    alerts,
    app::{TestApp, eventually},
};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use uuid::Uuid;

use crate::{
    metrics::{Scrape, until},
    paying::pays,
};

const ENDS: &str = "drop_certificate_expiry_timestamp_seconds{name=\"neonomics\"}";
/// The first days of 2040 and 2041.
const IN_2040: f64 = 2_208_988_800.0;
const IN_2041: f64 = 2_240_611_200.0;

/// The two files, which go with the test.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("drop-certificate-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// A certificate that ends on the first day of that year, and its key.
    fn put(&self, year: i32) {
        let mut params = CertificateParams::new(["drop.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        for (name, text) in [("cert", certificate.pem()), ("key", key.serialize_pem())] {
            replace(&self.0.join(name), &text);
        }
    }
}

/// As secrets are mounted: the new content is there at once.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}

impl Drop for Files {
    fn drop(&mut self) {
        let _gone_with_the_test = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_worker_shows_when_its_certificate_ends_and_takes_the_next_one_but_no_broken_one() {
    alerts::listen();
    let files = Files::new();
    files.put(2040);
    let app = TestApp::start_with(&[
        ("NEONOMICS_CLIENT_CERT_FILE", files.path("cert").as_str()),
        ("NEONOMICS_CLIENT_KEY_FILE", files.path("key").as_str()),
        ("NEONOMICS_CLIENT_CERT_LOOK_S", "1"),
    ])
    .await;
    until(&app, "the first is shown", |scrape| scrape.value(ENDS) == IN_2040).await;

    replace(Path::new(&files.path("key")), "-----BEGIN NOTHING-----");
    let told = || alerts::about("neonomics, certificate and key cannot be used together");
    assert!(
        eventually(async || told() == ["client_certificate"]).await,
        "nobody is told"
    );
    let anna = app.signed_in("anna").await;
    let account = anna.has_an_account().await;
    assert_eq!(
        pays(&anna, &account, "first").await.status,
        201,
        "the old one serves on"
    );
    assert_eq!(Scrape::of_worker(&app).await.value(ENDS), IN_2040);

    files.put(2041);
    until(&app, "the next is shown", |scrape| scrape.value(ENDS) == IN_2041).await;
    assert_eq!(told(), ["client_certificate"], "once, however many looks there were");
    app.finish().await;
}

#[tokio::test]
async fn a_worker_without_a_certificate_shows_no_end() {
    let app = TestApp::start().await;
    assert!(Scrape::of_worker(&app).await.value(ENDS).is_nan());
    app.finish().await;
}
