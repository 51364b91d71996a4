//! The guarded client itself; what the adapters make of it is tested beside them.

use std::sync::Arc;

use reqwest::{
    Method,
    header::{HeaderMap, HeaderValue},
};
use uuid::Uuid;

use super::{
    Operation, ProviderError,
    http::{Call, GuardedClient, Limits, Reply, Trace, form, path_segment},
    install_tls,
    testing::{FakeProvider, Heard, json},
    unobserved,
};

fn get(url: String) -> Call {
    let trace = Trace {
        request_id: Uuid::from_u128(1),
        correlation_id: Some(Uuid::from_u128(2)),
        not_after: None,
    };
    Call {
        operation: Operation::Accounts,
        method: Method::GET,
        url,
        headers: HeaderMap::new(),
        body: Vec::new(),
        trace,
    }
}

fn client(url: &str) -> GuardedClient {
    GuardedClient::new([url], &Limits::default(), unobserved()).expect("a loopback address")
}

#[tokio::test]
async fn a_host_or_port_that_is_not_on_the_list_is_never_called() {
    let (allowed, other) = (
        FakeProvider::start([]).await,
        FakeProvider::start([json(200, "{}")]).await,
    );
    let localhost = allowed.url.replace("127.0.0.1", "localhost");
    let userinfo = allowed.url.replace("http://", "http://127.0.0.1:1@evil.example:1/");
    for url in [
        other.url.clone(),
        localhost,
        userinfo,
        "file:///etc/passwd".to_owned(),
        "not a url".to_owned(),
    ] {
        let result = client(&allowed.url).call(get(url), |_| Ok(())).await;
        assert!(matches!(result, Err(ProviderError::Blocked)), "{result:?}");
    }
    assert!(other.seen().is_empty() && allowed.seen().is_empty());
}

#[tokio::test]
async fn every_call_ends_in_one_outcome_even_when_its_answer_cannot_be_read() {
    let provider = FakeProvider::start([json(200, "{}"), json(200, "<html>")]).await;
    let heard = Arc::new(Heard::default());
    let client = GuardedClient::new([provider.url.as_str()], &Limits::default(), heard.clone()).expect("loopback");
    let read = |reply: Reply| reply.json::<serde_json::Value>();
    client.call(get(provider.url.clone()), read).await.expect("JSON");
    client.call(get(provider.url.clone()), read).await.expect_err("HTML");
    client
        .call(get("http://127.0.0.1:1".to_owned()), read)
        .await
        .expect_err("not listed");
    let expected = ["ok", "ambiguous", "not_sent"].map(|outcome| (Operation::Accounts, outcome));
    assert_eq!(*heard.ended.lock().expect("not poisoned"), expected);
}

#[tokio::test]
async fn both_ids_go_along() {
    let provider = FakeProvider::start([json(200, "{}")]).await;
    client(&provider.url)
        .call(get(provider.url.clone()), |_| Ok(()))
        .await
        .expect("answered");
    let seen = provider.seen().remove(0);
    assert_eq!(
        seen.header("x-request-id"),
        Some("00000000-0000-0000-0000-000000000001")
    );
    assert_eq!(
        seen.header("x-correlation-id"),
        Some("00000000-0000-0000-0000-000000000002")
    );
}

#[test]
fn a_wait_is_read_in_seconds_or_as_a_date_counted_from_the_answer() {
    let reply = |pairs: &[(&'static str, &'static str)]| {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)));
        Reply {
            status: 429,
            headers: headers.collect(),
            body: Vec::new(),
        }
        .retry_after()
        .map(|wait| wait.as_secs())
    };
    let date = ("date", "Mon, 23 Feb 2026 10:00:00 GMT");
    assert_eq!(reply(&[("retry-after", "17")]), Some(17));
    assert_eq!(
        reply(&[("retry-after", "Mon, 23 Feb 2026 10:01:30 GMT"), date]),
        Some(90)
    );
    assert_eq!(reply(&[("retry-after", "Mon, 23 Feb 2026 09:00:00 GMT"), date]), None);
    assert_eq!(reply(&[("retry-after", "soon")]), None);
}

#[test]
fn an_id_stays_one_path_segment_and_a_form_is_encoded() {
    assert_eq!(path_segment("a/b?c#d é").expect("encodable"), "a%2Fb%3Fc%23d%20%C3%A9");
    for up in ["", ".", ".."] {
        assert!(path_segment(up).is_err(), "{up}");
    }
    assert_eq!(form(&[("a", "b c&d=é"), ("e", "")]), b"a=b+c%26d%3D%C3%A9&e=");
}

#[test]
fn tls_may_be_installed_twice() {
    install_tls();
    install_tls();
    assert!(rustls::crypto::CryptoProvider::get_default().is_some());
}
