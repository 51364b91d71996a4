//! The client certificate: shown to a provider that asks for it, and replaced while calls go on.

use std::{path::PathBuf, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use reqwest::{Method, header::HeaderMap};
use uuid::Uuid;

use super::{
    Neonomics, NotSetUp,
    tests::{config, context},
};
use crate::{
    config::{ClientCertificateConfig, NeonomicsConfig, PemSource},
    providers::{
        CertificateError, Class, Operation, ProviderError,
        http::{Call, GuardedClient, Limits, Trace},
        tls_testing::{Authority, Pair, TlsProvider, certify},
        unobserved,
    },
};

/// The two files of a test, which go with it.
struct Files(PathBuf);

impl Files {
    fn with(pair: &Pair) -> Self {
        let folder = std::env::temp_dir().join(format!("drop-certificate-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).expect("a temporary folder");
        let files = Self(folder);
        files.put(pair);
        files
    }

    fn put(&self, pair: &Pair) {
        self.write("cert", &pair.certificate);
        self.write("key", &pair.key);
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("a temporary file");
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _gone_with_the_test = std::fs::remove_dir_all(&self.0);
    }
}

fn showing(files: &Files, provider: &TlsProvider) -> NeonomicsConfig {
    let file = |name| PemSource::File(files.0.join(name));
    NeonomicsConfig {
        client_certificate: Some(ClientCertificateConfig {
            certificate: file("cert"),
            key: file("key"),
        }),
        ..config(&provider.url)
    }
}

fn trace() -> Trace {
    Trace {
        request_id: Uuid::from_u128(9),
        correlation_id: None,
        not_after: None,
    }
}

async fn look(neonomics: &Neonomics) -> Result<bool, CertificateError> {
    neonomics.look_at_certificate(trace(), context().now).await
}

async fn read(neonomics: &Neonomics, payment: &str) -> Result<Option<String>, ProviderError> {
    neonomics.payment_status("sepa", payment, &context()).await
}

fn begins(year: i32) -> Option<DateTime<Utc>> {
    format!("{year}-01-01T00:00:00Z").parse().ok()
}

#[tokio::test]
async fn a_provider_that_asks_for_a_certificate_is_shown_ours_and_lets_in_nobody_without_one() {
    let ours = certify("ours", 2020..2030);
    let (files, provider) = (
        Files::with(&ours),
        TlsProvider::start(vec![("ours", ours.clone())]).await,
    );
    let neonomics = Neonomics::new(showing(&files, &provider), unobserved()).expect("usable");
    assert_eq!(read(&neonomics, "p1").await.expect("let in").as_deref(), Some("ACCP"));
    assert!(provider.seen().iter().all(|shown| shown.name == "ours"));
    assert_eq!(neonomics.certificate_ends(), begins(2030));

    let asked = provider.seen().len();
    let bare = Neonomics::new(config(&provider.url), unobserved()).expect("usable");
    let error = read(&bare, "p1").await.expect_err("nobody is let in without one");
    assert_eq!((error.class(), error.counts_for_breaker()), (Class::NotSent, true));
    assert_eq!((provider.seen().len(), bare.certificate_ends()), (asked, None));
}

#[tokio::test]
async fn a_request_of_somebody_who_is_not_let_in_was_not_sent_although_its_bytes_had_left() {
    let provider = TlsProvider::start(vec![]).await;
    let client = GuardedClient::new([provider.url.as_str()], &Limits::default(), unobserved()).expect("usable");
    let pay = Call {
        operation: Operation::PaymentInitiate,
        method: Method::POST,
        url: format!("{}/v1/payments/sepa", provider.url),
        headers: HeaderMap::new(),
        body: b"{}".to_vec(),
        trace: trace(),
    };
    let error = client.call(pay, |_| Ok(())).await.expect_err("not let in");
    assert!(matches!(error, ProviderError::Connect(_)), "{error:?}");
    assert!(provider.seen().is_empty());
}

#[tokio::test]
async fn a_new_certificate_is_taken_under_load_and_no_call_fails() {
    let (first, second) = (certify("first", 2020..2030), certify("second", 2020..2031));
    let files = Files::with(&first);
    let provider = TlsProvider::start(vec![("first", first), ("second", second.clone())]).await;
    let neonomics = Neonomics::new(showing(&files, &provider), unobserved()).expect("usable");
    let neonomics = Arc::new(neonomics);
    assert!(!look(&neonomics).await.expect("unchanged"));

    let (stop, stopped) = tokio::sync::watch::channel(false);
    let load = (0..8).map(|caller| {
        let (neonomics, stopped) = (Arc::clone(&neonomics), stopped.clone());
        tokio::spawn(async move {
            let mut calls = 0;
            while !*stopped.borrow() {
                read(&neonomics, &format!("p{caller}")).await.expect("no call fails");
                calls += 1;
            }
            calls
        })
    });
    let load: Vec<_> = load.collect();
    let in_flight = tokio::spawn({
        let neonomics = Arc::clone(&neonomics);
        async move { read(&neonomics, "slow").await }
    });
    until(|| provider.seen().iter().any(|shown| shown.line.contains("slow"))).await;
    until(|| provider.seen().len() > 100).await;

    files.put(&second);
    assert!(look(&neonomics).await.expect("a good one"));
    let before = provider.seen().len();
    until(|| provider.seen().len() > before + 100).await;
    stop.send_replace(true);
    for caller in load {
        assert!(caller.await.expect("no panic") > 0);
    }
    provider.let_go();
    in_flight.await.expect("no panic").expect("it ends as it began");

    let slow = provider.seen().into_iter().find(|shown| shown.line.contains("slow"));
    assert_eq!(slow.map(|shown| shown.name).as_deref(), Some("first"));
    let last = provider.seen().split_off(before);
    let late = last.iter().filter(|shown| shown.name == "first").count();
    assert!(late <= 8, "{late} calls began on the old way after the change");
    assert!(last.iter().rev().take(50).all(|shown| shown.name == "second"));
    assert_eq!(neonomics.certificate_ends(), begins(2031));
}

/// Waits, for a bounded time, until it is so.
async fn until(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    waited.expect("it never became so");
}

type Wanted = fn(&CertificateError) -> bool;

#[tokio::test]
async fn what_cannot_be_used_takes_no_ones_place_and_its_successor_is_taken_all_the_same() {
    let good = certify("good", 2020..2030);
    let files = Files::with(&good);
    let next = certify("next", 2020..2031);
    let provider = TlsProvider::start(vec![("good", good.clone()), ("next", next.clone())]).await;
    let neonomics = Neonomics::new(showing(&files, &provider), unobserved()).expect("usable");

    let with = |certificate: &str, key: &str| {
        files.write("cert", certificate);
        files.write("key", key);
    };
    let (stranger, unknown) = (
        Authority::new().certify("stranger", 2020..2031),
        certify("unknown", 2020..2031),
    );
    // The clock of these tests stands in 2023.
    let (early, ended) = (certify("good", 2024..2031), certify("good", 2020..2023));
    let half = &next.certificate[..next.certificate.len() / 2];
    let bad: [(&str, &str, Wanted); 9] = [
        ("", "", |error| matches!(error, CertificateError::NoCertificate)),
        (half, &next.key, |error| {
            matches!(error, CertificateError::NoCertificate)
        }),
        (&next.key, &next.certificate, |error| {
            matches!(error, CertificateError::NoCertificate)
        }),
        (&next.certificate, "", |error| {
            matches!(error, CertificateError::Unusable)
        }),
        (&next.certificate, &good.key, |error| {
            matches!(error, CertificateError::Unusable)
        }),
        (&early.certificate, &early.key, |error| {
            matches!(error, CertificateError::Early)
        }),
        (&ended.certificate, &ended.key, |error| {
            matches!(error, CertificateError::Ended)
        }),
        (&stranger.certificate, &stranger.key, |error| {
            matches!(error, CertificateError::NotAccepted(_))
        }),
        (&unknown.certificate, &unknown.key, |error| {
            matches!(error, CertificateError::NotAccepted(_))
        }),
    ];
    for (number, (certificate, key, is_wanted)) in bad.into_iter().enumerate() {
        with(certificate, key);
        let error = look(&neonomics).await.expect_err("it cannot be used");
        assert!(is_wanted(&error), "{number}: {error:?}");
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains("BEGIN") && !shown.contains(files.0.to_str().expect("plain")),
            "{shown}"
        );
        read(&neonomics, "p1").await.expect("the old one serves on");
        assert_eq!(neonomics.certificate_ends(), begins(2030), "{number}");
    }
    std::fs::remove_file(files.0.join("cert")).expect("was there");
    let gone = look(&neonomics).await.expect_err("no file");
    assert!(matches!(gone, CertificateError::Unreadable(_)), "{gone:?}");
    read(&neonomics, "p1").await.expect("the old one serves on");

    files.put(&good);
    assert!(!look(&neonomics).await.expect("the one that is in use"));
    files.put(&next);
    assert!(look(&neonomics).await.expect("a good one"));
    read(&neonomics, "p1").await.expect("let in");
    assert_eq!(provider.seen().last().map(|shown| shown.name.as_str()), Some("next"));
}

#[tokio::test]
async fn a_successor_is_not_taken_while_the_provider_does_not_answer() {
    let (good, next) = (certify("good", 2020..2030), certify("next", 2020..2031));
    let files = Files::with(&good);
    let provider = TlsProvider::start(vec![("good", good)]).await;
    let neonomics = Neonomics::new(showing(&files, &provider), unobserved()).expect("usable");
    drop(provider);
    files.put(&next);
    let error = look(&neonomics).await.expect_err("nobody is there");
    assert!(matches!(error, CertificateError::NotAccepted(_)), "{error:?}");
    assert_eq!(neonomics.certificate_ends(), begins(2030));
}

#[test]
fn a_worker_with_a_certificate_that_cannot_be_used_does_not_start_and_says_which_variable_it_is() {
    let (one, other) = (certify("one", 2020..2030), certify("other", 2020..2030));
    let files = Files::with(&one);
    files.write("key", &other.key);
    let file = |name| PemSource::File(files.0.join(name));
    let broken = NeonomicsConfig {
        client_certificate: Some(ClientCertificateConfig {
            certificate: file("cert"),
            key: file("key"),
        }),
        ..config("https://localhost:1")
    };
    let refused = Neonomics::new(broken.clone(), unobserved()).err().expect("unusable");
    assert!(matches!(&refused, NotSetUp::Certificate(CertificateError::Unusable)));
    assert!(refused.to_string().starts_with("NEONOMICS_CLIENT_CERT"), "{refused}");
    assert!(!format!("{refused:?}").contains("BEGIN"));
    // One that has ended lets the worker start: logins do not depend on it.
    files.put(&certify("ended", 2000..2001));
    let ended = Neonomics::new(broken, unobserved()).expect("usable");
    assert_eq!(ended.certificate_ends(), begins(2001));
}
