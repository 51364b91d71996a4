//! Ten logins and ten callbacks a minute from one address (contract 3.1), whatever a request says about where it comes from.

use chrono::TimeDelta;
use drop_tests::{
    app::TestApp,
    fleet::Fleet,
    person::{Answer, browser},
    time,
};
use futures_util::future::join_all;
use rstest::rstest;

use crate::login::scene::BEHIND_A_PROXY;

const LOGIN: &str = "/api/auth/bankid/login";
/// Refused for its state, and counted all the same.
const CALLBACK: &str = "/api/auth/bankid/callback?code=c&state=forged";

/// A request with these headers.
async fn asks(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = browser().get(format!("{}{path}", app.url));
    let request = headers
        .iter()
        .fold(request, |request, &(name, value)| request.header(name, value));
    Answer::of(request.send().await.unwrap()).await
}

/// A request of the person whom a proxy of ours saw at this address.
async fn from(app: &TestApp, address: &str) -> Answer {
    asks(app, LOGIN, &[("X-Forwarded-For", address)]).await
}

fn is_limited(answer: &Answer) -> bool {
    answer.status == 429
}

/// Uses up what an address may ask in a minute.
async fn exhaust(app: &TestApp, headers: &[(&str, &str)]) {
    for _ in 0..10 {
        assert_eq!(asks(app, LOGIN, headers).await.status, 303);
    }
    assert!(is_limited(&asks(app, LOGIN, headers).await));
}

#[rstest]
#[case::logins(LOGIN, 303)]
#[case::callbacks(CALLBACK, 400)]
#[tokio::test(flavor = "multi_thread")]
async fn three_processes_let_ten_of_thirty_through_and_the_next_after_a_minute(
    #[case] path: &str,
    #[case] passes: u16,
) {
    let fleet = Fleet {
        program: env!("CARGO_BIN_EXE_drop-node"),
        apis: 3,
        workers: 0,
    };
    let app = TestApp::start_fleet(fleet).await;
    let answers = join_all((0..30).map(|_| asks(&app, path, &[]))).await;
    let (limited, passed): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| is_limited(answer));
    assert_eq!((passed.len(), limited.len()), (10, 20));
    assert!(passed.iter().all(|answer| answer.status == passes));
    for answer in limited {
        assert_eq!(answer.problem(), (429, "rate_limited"));
        assert!((50..=60).contains(&answer.retry_after.unwrap()), "{answer:?}");
    }
    // Each of the three processes knows it.
    for _ in 0..3 {
        assert!(is_limited(&asks(&app, path, &[]).await));
    }
    time::pass(&app.db, TimeDelta::seconds(50)).await;
    let early = asks(&app, path, &[]).await;
    assert!(is_limited(&early) && early.retry_after.unwrap() <= 10, "{early:?}");
    time::pass(&app.db, TimeDelta::seconds(11)).await;
    assert_eq!(asks(&app, path, &[]).await.status, passes);
    app.finish().await;
}

#[tokio::test]
async fn a_hundred_forged_addresses_are_one_caller() {
    let app = TestApp::start().await;
    let mut limited = 0;
    for forged in 0..100 {
        let forged = format!("203.0.113.{forged}");
        limited += usize::from(is_limited(&from(&app, &forged).await));
    }
    assert_eq!(limited, 90);
    app.finish().await;
}

#[tokio::test]
async fn what_a_person_forges_before_the_proxy_does_not_make_them_another() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    let mut limited = 0;
    for forged in 0..20 {
        let forwarded = format!("203.0.113.{forged}, 192.0.2.7");
        limited += usize::from(is_limited(&from(&app, &forwarded).await));
    }
    assert_eq!(limited, 10);
    app.finish().await;
}

#[tokio::test]
async fn two_people_behind_the_web_backend_have_a_limit_each() {
    // The ingress is the peer, the web backend stands before it, and the edge before that.
    let proxies = [
        ("DROP_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8"),
        ("DROP_EDGE_PROXIES", "198.51.100.0/24"),
    ];
    let app = TestApp::start_with(&proxies).await;
    let through_all = |client: &str| format!("{client}, 198.51.100.7, 10.0.0.5");
    exhaust(&app, &[("X-Forwarded-For", &through_all("192.0.2.7"))]).await;
    exhaust(&app, &[("X-Forwarded-For", &through_all("192.0.2.8"))]).await;
    // The way that the request took makes no difference.
    assert!(is_limited(&from(&app, "192.0.2.7, 10.0.0.9").await));
    app.finish().await;
}

#[tokio::test]
async fn all_addresses_of_one_ipv6_line_share_a_limit() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    for one in 0..10 {
        let address = format!("2001:db8:1:2:{one}:{one}:{one}:{one}");
        assert_eq!(from(&app, &address).await.status, 303);
    }
    assert!(is_limited(&from(&app, "2001:db8:1:2:ffff::1").await));
    assert_eq!(from(&app, "2001:db8:1:3::1").await.status, 303);
    app.finish().await;
}

const BEHIND_THE_EDGE: [(&str, &str); 2] = [BEHIND_A_PROXY, ("DROP_EDGE_PROXIES", "198.51.100.0/24")];

#[tokio::test]
async fn the_edge_tells_who_its_client_is() {
    let app = TestApp::start_with(&BEHIND_THE_EDGE).await;
    let through_the_edge = |client| [("X-Forwarded-For", "198.51.100.7"), ("CF-Connecting-IP", client)];
    exhaust(&app, &through_the_edge("192.0.2.7")).await;
    assert_eq!(asks(&app, LOGIN, &through_the_edge("192.0.2.8")).await.status, 303);
    // What was forwarded says the same of the same person.
    assert!(is_limited(&from(&app, "192.0.2.7, 198.51.100.7").await));
    app.finish().await;
}

#[tokio::test]
async fn the_edges_header_that_somebody_else_wrote_changes_nobody() {
    let app = TestApp::start_with(&BEHIND_THE_EDGE).await;
    exhaust(&app, &[("X-Forwarded-For", "192.0.2.7")]).await;
    let through_the_edge = "192.0.2.7, 198.51.100.7";
    for (forwarded, forged) in [
        ("192.0.2.7", &["203.0.113.9"][..]),
        ("198.51.100.7, 192.0.2.7", &["203.0.113.9"]),
        (through_the_edge, &["203.0.113.9", "203.0.113.10"]),
        (through_the_edge, &["203.0.113.9, 203.0.113.10"]),
        (through_the_edge, &["somebody"]),
    ] {
        let mut headers = vec![("X-Forwarded-For", forwarded)];
        headers.extend(forged.iter().map(|value| ("CF-Connecting-IP", *value)));
        assert!(is_limited(&asks(&app, LOGIN, &headers).await), "{headers:?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_program_that_runs_at_the_edge_is_one_caller_whatever_it_forges() {
    let app = TestApp::start_with(&BEHIND_THE_EDGE).await;
    let mut limited = 0;
    for forged in 0..20 {
        let forwarded = format!("203.0.113.{forged}, 198.51.100.200, 198.51.100.7");
        let headers = [("X-Forwarded-For", &*forwarded), ("CF-Connecting-IP", "198.51.100.200")];
        limited += usize::from(is_limited(&asks(&app, LOGIN, &headers).await));
    }
    assert_eq!(limited, 10);
    app.finish().await;
}

#[tokio::test]
async fn the_edges_header_is_nothing_where_no_edge_is_configured() {
    let app = TestApp::start_with(&[BEHIND_A_PROXY]).await;
    exhaust(&app, &[("X-Forwarded-For", "192.0.2.7")]).await;
    let forged = [("X-Forwarded-For", "192.0.2.7"), ("CF-Connecting-IP", "203.0.113.9")];
    assert!(is_limited(&asks(&app, LOGIN, &forged).await));
    app.finish().await;
}
