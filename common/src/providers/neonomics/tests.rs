use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use rstest::rstest;
use uuid::Uuid;

use super::{CallContext, Cancellation, Creditor, Neonomics, OrderAtBank, PaymentOrder, Psu, Redirects, ScaLink};
use crate::{
    config::{BbanWire, ConsentHeader, NeonomicsConfig, Retry5xx},
    providers::{
        Class, Field, ProviderError,
        testing::{FakeProvider, Heard, answer, json},
        unobserved,
    },
};

pub(super) const CREATED: &str =
    r#"{"paymentId":"pay_xyz123","transactionStatus":"RCVD","_links":{"scaRedirect":{"href":"https://dnb.no/sca/1"}}}"#;
pub(super) const TOKEN_EXPIRED: &str = r#"{"tppMessages":[{"category":"ERROR","code":"TOKEN_EXPIRED"}]}"#;
pub(super) const REDIRECTS: Redirects<'_> = Redirects {
    success: "https://getdrop.no/back?state=s",
    failure: None,
};

pub(super) fn token() -> String {
    json(
        200,
        r#"{"access_token":"secret-token","token_type":"Bearer","expires_in":3600}"#,
    )
}

pub(super) fn config(url: &str) -> NeonomicsConfig {
    NeonomicsConfig {
        base_url: url.to_owned(),
        token_url: format!("{url}/auth/token"),
        client_id: "drop".to_owned(),
        client_secret: "neo secret&".into(),
        client_certificate: None,
        client_certificate_look: Duration::from_mins(1),
        connect_timeout: Duration::from_secs(2),
        read_timeout: Duration::from_secs(10),
        status_path: "/v1/payments/{paymentId}/status".to_owned(),
        payment_path: "/v1/payments/{product}/{paymentId}".to_owned(),
        bban_wire: BbanWire::AsGiven,
        provisional_completed: vec!["ACCP".to_owned()],
        consent_header: ConsentHeader::Both,
        dedupe_proven: false,
        retry_5xx: Retry5xx::Always,
        payment_consent: None,
        send_ip_v6: true,
        sca_hosts: vec!["dnb.no".to_owned()],
        sca_loopback_http: false,
    }
}

pub(super) fn client(config: NeonomicsConfig) -> Neonomics {
    Neonomics::new(config, unobserved()).expect("a loopback address")
}

fn order() -> PaymentOrder<'static> {
    PaymentOrder {
        debtor_iban: "NO9386011117947",
        amount: "2010.00",
        currency: "NOK",
        creditor_name: "Marko Petrovic",
        creditor: Creditor::Bban("265-1234567-89"),
        remittance: Some("Drop remittance tx_rem_abc123"),
        product: "sepa-credit-transfers",
    }
}

pub(super) fn context() -> CallContext {
    CallContext {
        request_id: Uuid::from_u128(1),
        correlation_id: Some(Uuid::from_u128(2)),
        psu: None,
        now: DateTime::<Utc>::from_timestamp(1_700_000_000, 0).expect("a valid time"),
        not_after: None,
    }
}

pub(super) async fn pay(neonomics: &Neonomics) -> Result<super::InitiatedPayment, ProviderError> {
    neonomics
        .send(&neonomics.prepare(&order()), Some("pis"), REDIRECTS, &context())
        .await
}

#[tokio::test]
async fn a_word_of_the_bank_that_we_do_not_know_is_counted_and_a_known_one_is_not() {
    let provider = FakeProvider::start([
        token(),
        json(200, r#"{"transactionStatus":"ACCP"}"#),
        json(200, r#"{"transactionStatus":"XXXX"}"#),
        json(200, r#"{"consentStatus":"valid"}"#),
        json(200, r#"{"consentStatus":"frozen"}"#),
        json(
            200,
            r#"{"balances":[{"balanceType":"expected","balanceAmount":{"currency":"NOK","amount":"1.00"}},
                            {"balanceType":"imagined","balanceAmount":{"currency":"NOK","amount":"1.00"}}]}"#,
        ),
        json(
            403,
            r#"{"tppMessages":[{"category":"ERROR","code":"SERVICE_BLOCKED"}]}"#,
        ),
        json(403, r#"{"tppMessages":[{"category":"ERROR","code":"SOMETHING_NEW"}]}"#),
    ])
    .await;
    let heard = Arc::new(Heard::default());
    let neonomics = Neonomics::new(config(&provider.url), heard.clone()).expect("a loopback address");
    let product = "sepa-credit-transfers";
    for _ in 0..2 {
        let read = neonomics.payment_status(product, "pay_1", &context()).await;
        read.expect("a status");
    }
    for _ in 0..2 {
        neonomics.consent_status("con_1", &context()).await.expect("a status");
    }
    neonomics
        .balances("acc_1", "con_1", &context())
        .await
        .expect("balances");
    for _ in 0..2 {
        neonomics.accounts("con_1", &context()).await.expect_err("refused");
    }
    let expected = [
        Field::TransactionStatus,
        Field::ConsentStatus,
        Field::BalanceType,
        Field::ErrorCode,
    ];
    assert_eq!(*heard.unknown.lock().expect("not poisoned"), expected);
}

#[tokio::test]
async fn a_payment_is_sent_as_the_contract_says() {
    let provider = FakeProvider::start([token(), json(201, CREATED)]).await;
    let payment = pay(&client(config(&provider.url))).await.expect("created");
    assert_eq!(
        (payment.payment_id.as_str(), payment.status.as_deref()),
        ("pay_xyz123", Some("RCVD"))
    );
    assert!(matches!(&payment.sca, ScaLink::Redirect(url) if url.as_str() == "https://dnb.no/sca/1"));
    let seen = provider.seen();
    assert_eq!(
        seen[0].body,
        "grant_type=client_credentials&client_id=drop&client_secret=neo+secret%26"
    );
    assert_eq!(seen[1].line(), "POST /v1/payments/sepa-credit-transfers HTTP/1.1");
    for (name, value) in [
        ("authorization", "Bearer secret-token"),
        ("x-request-id", "00000000-0000-0000-0000-000000000001"),
        ("x-correlation-id", "00000000-0000-0000-0000-000000000002"),
        ("x-consent-id", "pis"),
        ("consent-id", "pis"),
        ("tpp-redirect-uri", "https://getdrop.no/back?state=s"),
    ] {
        assert_eq!(seen[1].header(name), Some(value), "{name}");
    }
    assert_eq!(seen[1].header("psu-ip-address"), None);
    assert_eq!(
        seen[1].body,
        concat!(
            r#"{"debtorAccount":{"iban":"NO9386011117947"},"instructedAmount":{"currency":"NOK","amount":"2010.00"},"#,
            r#""creditorName":"Marko Petrovic","creditorAccount":{"bban":"265-1234567-89"},"#,
            r#""remittanceInformationUnstructured":"Drop remittance tx_rem_abc123"}"#
        )
    );
}

#[test]
fn the_same_order_prepares_the_same_bytes_and_another_amount_does_not() {
    let neonomics = client(config("http://127.0.0.1:1"));
    let first = neonomics.prepare(&order());
    assert_eq!(first.hash(), neonomics.prepare(&order()).hash());
    assert_ne!(
        first.hash(),
        neonomics
            .prepare(&PaymentOrder {
                amount: "2010.01",
                ..order()
            })
            .hash()
    );
    assert!(!format!("{first:?}").contains("Marko"));
}

#[tokio::test]
async fn nothing_leaves_once_the_lease_has_ended() {
    let provider = FakeProvider::start([token(), json(201, CREATED), json(201, CREATED)]).await;
    let neonomics = client(config(&provider.url));
    let late = CallContext {
        not_after: Some(Instant::now()),
        ..context()
    };
    let sent = async |context| {
        let prepared = neonomics.prepare(&order());
        neonomics.send(&prepared, None, REDIRECTS, &context).await
    };
    let without_a_token = sent(late.clone()).await.expect_err("too late to ask for a token");
    assert_eq!(provider.seen().len(), 0);
    sent(context()).await.expect("in time");
    let with_one = sent(late).await.expect_err("too late");
    assert_eq!(provider.seen().len(), 2, "the token and the payment that was in time");
    for error in [without_a_token, with_one] {
        assert_eq!(
            (error.class(), error.counts_for_breaker(), error.needs_ops()),
            (Class::NotSent, false, false)
        );
    }
}

#[rstest]
#[case::server_error(json(503, "{}"), Class::Transient)]
#[case::gateway_timeout(json(504, "{}"), Class::Ambiguous)]
#[case::request_timeout(json(408, ""), Class::Ambiguous)]
#[case::limited(answer(429, "retry-after: 5\r\n", ""), Class::Limited)]
#[case::refused(json(400, r#"{"tppMessages":[{"code":"FORMAT_ERROR"}]}"#), Class::Refused)]
#[case::dead_consent(json(403, r#"{"tppMessages":[{"code":"CONSENT_EXPIRED"}]}"#), Class::Expired)]
#[case::no_payment_id(json(201, r#"{"transactionStatus":"RCVD"}"#), Class::Ambiguous)]
#[case::html(answer(201, "", "<html>"), Class::Ambiguous)]
#[case::cut_off("HTTP/1.1 201 Created\r\ncontent-length: 500\r\n\r\n{\"paymentId\":".to_owned(), Class::Ambiguous)]
#[case::closed(String::new(), Class::Ambiguous)]
#[case::redirect(answer(307, "location: http://127.0.0.1:1/\r\n", ""), Class::Ambiguous)]
#[tokio::test]
async fn a_payment_is_sent_once_and_its_failure_has_one_class(#[case] reply: String, #[case] class: Class) {
    let provider = FakeProvider::start([token(), reply, json(201, CREATED)]).await;
    let error = pay(&client(config(&provider.url))).await.expect_err("a failure");
    assert_eq!(error.class(), class, "{error:?}");
    assert_eq!(provider.seen().len(), 2, "one token call and one attempt");
}

#[tokio::test]
async fn a_bank_that_does_not_answer_in_time_is_ambiguous() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let provider = FakeProvider::start([token()]).await;
    let mut config = config(&format!("http://{}", silent.local_addr().expect("bound")));
    config.read_timeout = Duration::from_secs(1);
    config.token_url = format!("{}/auth/token", provider.url);
    assert!(matches!(pay(&client(config)).await, Err(ProviderError::Timeout)));
}

#[tokio::test]
async fn a_refused_connection_is_not_sent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let closed = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let provider = FakeProvider::start([token()]).await;
    let mut config = config(&closed);
    config.token_url = format!("{}/auth/token", provider.url);
    let error = pay(&client(config)).await.expect_err("nobody listens");
    assert!(matches!(error, ProviderError::Connect(_)), "{error:?}");
    assert!(
        !format!("{error:?}").contains("payments"),
        "the URL stays out of the error"
    );
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused() {
    let provider = FakeProvider::start([token(), json(201, &" ".repeat(1024 * 1024 + 1))]).await;
    let error = pay(&client(config(&provider.url))).await.expect_err("too large");
    assert!(
        matches!(
            error,
            ProviderError::Unreadable {
                what: "the body is too large"
            }
        ),
        "{error:?}"
    );
}

#[rstest]
#[case("https://evil.example/sca", false)]
#[case("https://dnb.no.evil.example/", false)]
#[case("https://dnb.no@evil.example/", false)]
#[case("https://dnb.no:8443/", false)]
#[case("http://dnb.no/", false)]
#[case("javascript:alert(1)", false)]
#[case("http://127.0.0.1:9/sca", false)]
#[case("https://DNB.no/sca?x=1", true)]
#[tokio::test]
async fn a_user_is_sent_to_an_allow_listed_bank_only_and_the_payment_is_kept(#[case] href: &str, #[case] ok: bool) {
    let body = format!(r#"{{"paymentId":"p","_links":{{"scaRedirect":{{"href":"{href}"}}}}}}"#);
    let provider = FakeProvider::start([token(), json(201, &body)]).await;
    let payment = pay(&client(config(&provider.url))).await.expect("the payment exists");
    assert_eq!(payment.payment_id, "p");
    assert_eq!(matches!(payment.sca, ScaLink::Redirect(_)), ok);
    assert_eq!(payment.sca == ScaLink::Untrusted, !ok);
}

#[tokio::test]
async fn a_local_system_may_send_a_user_to_its_sandbox() {
    let body = r#"{"paymentId":"p","_links":{"scaRedirect":{"href":"http://127.0.0.1:9/sca"}}}"#;
    let provider = FakeProvider::start([token(), json(201, body)]).await;
    let local = NeonomicsConfig {
        sca_loopback_http: true,
        ..config(&provider.url)
    };
    assert!(matches!(
        pay(&client(local)).await.expect("created").sca,
        ScaLink::Redirect(_)
    ));
}

#[tokio::test]
async fn a_balance_read_carries_both_consent_headers_and_the_users_address() {
    let body = r#"{"balances":[{"balanceType":"expected","balanceAmount":{"currency":"NOK","amount":"45230.00"},"lastChangeDateTime":"2026-02-23T08:00:00.000Z"}]}"#;
    let provider = FakeProvider::start([token(), json(200, body)]).await;
    let psu = Psu {
        ip: [203, 0, 113, 7].into(),
        user_agent: Some("a\nb".to_owned()),
        accept_language: Some("no".to_owned()),
    };
    let attended = CallContext {
        psu: Some(psu),
        ..context()
    };
    let balances = client(config(&provider.url))
        .balances("acc1", "con1", &attended)
        .await
        .expect("read");
    assert_eq!(
        (balances[0].kind.as_str(), balances[0].amount.as_str()),
        ("expected", "45230.00")
    );
    let seen = &provider.seen()[1];
    for (name, value) in [
        ("consent-id", "con1"),
        ("x-consent-id", "con1"),
        ("psu-ip-address", "203.0.113.7"),
        ("psu-accept-language", "no"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!(seen.header("psu-user-agent"), None);
}

#[tokio::test]
async fn an_amount_that_is_a_number_is_unreadable() {
    let body = r#"{"balances":[{"balanceType":"expected","balanceAmount":{"currency":"NOK","amount":45230.0}}]}"#;
    let provider = FakeProvider::start([token(), json(200, body)]).await;
    let error = client(config(&provider.url))
        .balances("acc1", "con1", &context())
        .await
        .expect_err("a float");
    assert_eq!(error.class(), Class::Ambiguous);
}

#[tokio::test]
async fn a_list_of_accounts_is_read_whatever_one_of_them_lacks_and_a_last_day_that_is_none_is_none() {
    let provider = FakeProvider::start([
        token(),
        json(
            200,
            r#"{"accounts":[{"currency":"NOK"},{"resourceId":"r1","currency":"XXX"}]}"#,
        ),
        json(200, r#"{"consentStatus":"valid","validUntil":"2026-13-01"}"#),
        json(200, r#"{"consentStatus":"valid","validUntil":7}"#),
        json(200, r#"{"consentStatus":"valid"}"#),
    ])
    .await;
    let (neonomics, context) = (client(config(&provider.url)), context());
    let accounts = neonomics.accounts("c1", &context).await.expect("read");
    let ids: Vec<_> = accounts.iter().map(|account| account.resource_id.as_deref()).collect();
    assert_eq!(ids, [None, Some("r1")]);
    for _ in 0..3 {
        let state = neonomics.consent("c1", &context).await.expect("read");
        assert_eq!((state.status.as_str(), state.valid_until), ("valid", None));
    }
}

#[tokio::test]
async fn a_consent_is_asked_for_read_and_deleted() {
    let created =
        r#"{"consentId":"c1","consentStatus":"received","_links":{"scaRedirect":{"href":"https://dnb.no/c"}}}"#;
    let provider = FakeProvider::start([
        token(),
        json(201, created),
        json(200, r#"{"consentStatus":"valid","validUntil":"2026-12-01"}"#),
        json(
            200,
            r#"{"accounts":[{"resourceId":"r1","iban":"NO9386011117947","currency":"NOK","name":"x"}]}"#,
        ),
        answer(204, "", ""),
        json(403, r#"{"tppMessages":[{"code":"CONSENT_UNKNOWN"}]}"#),
        json(404, ""),
        json(401, r#"{"tppMessages":[{"code":"CONSENT_EXPIRED"}]}"#),
        json(401, r#"{"tppMessages":[{"code":"CONSENT_INVALID"}]}"#),
        json(500, ""),
    ])
    .await;
    let (neonomics, context) = (client(config(&provider.url)), context());
    let until = chrono::NaiveDate::from_ymd_opt(2027, 5, 24).expect("a date");
    let consent = neonomics
        .create_consent(until, REDIRECTS, &context)
        .await
        .expect("created");
    assert!(matches!(consent.sca, ScaLink::Redirect(_)));
    let state = neonomics.consent("c1", &context).await.expect("read");
    assert_eq!(
        (
            state.status.as_str(),
            state.valid_until.map(|day| day.to_string()).as_deref()
        ),
        ("valid", Some("2026-12-01"))
    );
    assert_eq!(
        neonomics.accounts("c1", &context).await.expect("read")[0]
            .resource_id
            .as_deref(),
        Some("r1")
    );
    for _ in 0..4 {
        neonomics.delete_consent("c1", &context).await.expect("gone is deleted");
    }
    for why in ["it may only not be approved yet", "nobody knows"] {
        assert!(neonomics.delete_consent("c1", &context).await.is_err(), "{why}");
    }
    assert_eq!(
        provider.seen()[1].body,
        r#"{"access":{"accounts":[],"balances":[]},"recurringIndicator":true,"validUntil":"2027-05-24","frequencyPerDay":4,"combinedServiceIndicator":false}"#
    );
}

#[tokio::test]
async fn a_cancellation_goes_to_the_payment_itself_and_says_when_the_user_must_approve() {
    let answers = [
        token(),
        answer(204, "", ""),
        json(202, "{}"),
        json(405, ""),
        json(200, "{}"),
    ];
    let provider = FakeProvider::start(answers).await;
    let standard = NeonomicsConfig {
        status_path: "/v1/payments/{product}/{paymentId}/status".to_owned(),
        ..config(&provider.url)
    };
    let (neonomics, context) = (client(standard), context());
    assert_eq!(
        neonomics.cancel_payment("straks", "p1", &context).await.expect("204"),
        Cancellation::Done
    );
    assert_eq!(
        neonomics.cancel_payment("straks", "p1", &context).await.expect("202"),
        Cancellation::NeedsApproval
    );
    let refused = neonomics.cancel_payment("straks", "p1", &context).await;
    assert!(matches!(refused, Err(ProviderError::Refused { status: 405, .. })));
    let vague = neonomics.cancel_payment("straks", "p1", &context).await;
    assert_eq!(vague.expect_err("200 cancels nothing").class(), Class::Ambiguous);
    assert_eq!(provider.seen()[1].line(), "DELETE /v1/payments/straks/p1 HTTP/1.1");
    assert!(
        neonomics.cancel_payment("straks", "..", &context).await.is_err(),
        "an id is never a path"
    );
}

#[tokio::test]
async fn a_payment_exists_whatever_form_the_rest_of_the_answer_has() {
    let body = r#"{"paymentId":"p","transactionStatus":7,"_links":{"scaRedirect":"https://dnb.no/sca/1"}}"#;
    let provider = FakeProvider::start([token(), json(201, body)]).await;
    let payment = pay(&client(config(&provider.url))).await.expect("created");
    assert_eq!(
        (payment.payment_id.as_str(), payment.status, payment.sca),
        ("p", None, ScaLink::None)
    );
}

#[tokio::test]
async fn a_payment_that_was_created_with_warnings_and_without_a_status_exists() {
    let body = r#"{"paymentId":"p","tppMessages":[{"category":"WARNING","code":"CONSENT_EXPIRED","text":"soon"}]}"#;
    let provider = FakeProvider::start([token(), json(201, body)]).await;
    let payment = pay(&client(config(&provider.url))).await.expect("created");
    assert_eq!(
        (payment.payment_id.as_str(), payment.status, payment.sca),
        ("p", None, ScaLink::None)
    );
}

#[tokio::test]
async fn the_order_is_read_as_the_bank_has_it() {
    let changed = r#"{"transactionStatus":"ACWC","debtorAccount":{"iban":"NO9386011117947"},"creditorName":"Marko",
        "instructedAmount":{"currency":"NOK","amount":"2009.50"},"requestedExecutionDate":"2026-02-24"}"#;
    let answers = [
        token(),
        json(200, changed),
        json(200, r#"{"instructedAmount":{"currency":"NOK","amount":"2010.00"}}"#),
        json(200, r#"{"instructedAmount":{"currency":"NOK","amount":2010.0}}"#),
        json(
            200,
            r#"{"instructedAmount":{"currency":"NOK","amount":"2010.00"},"requestedExecutionDate":"soon"}"#,
        ),
    ];
    let provider = FakeProvider::start(answers).await;
    let (neonomics, context) = (client(config(&provider.url)), context());
    let read = async || neonomics.payment("sepa", "p/1", &context).await;
    let order = |amount: &str, day: Option<&str>| OrderAtBank {
        amount: amount.to_owned(),
        currency: "NOK".to_owned(),
        execution_date: day.map(|day| day.parse().expect("a day")),
    };
    assert_eq!(read().await.expect("read"), order("2009.50", Some("2026-02-24")));
    assert_eq!(read().await.expect("read"), order("2010.00", None));
    for what in ["an amount that is a number", "a day that is none"] {
        assert_eq!(read().await.expect_err(what).class(), Class::Ambiguous, "{what}");
    }
    assert_eq!(provider.seen()[1].line(), "GET /v1/payments/sepa/p%2F1 HTTP/1.1");
}

#[tokio::test]
async fn an_approval_is_started_at_our_own_address_whatever_the_banks_link_says() {
    let wanted = r#"{"paymentId":"p1","_links":{"startAuthorisation":{"href":"https://evil.example/authorisations"}}}"#;
    let started = |href: &str| {
        let body = format!(
            r#"{{"scaStatus":"received","authorisationId":"a","_links":{{"scaRedirect":{{"href":"{href}"}}}}}}"#
        );
        json(201, &body)
    };
    let provider = FakeProvider::start([
        token(),
        json(201, wanted),
        started("https://dnb.no/sca/1"),
        started("https://evil.example/sca"),
        json(
            201,
            r#"{"scaStatus":"scaMethodSelected","psuMessage":"look at your phone"}"#,
        ),
    ])
    .await;
    let neonomics = client(config(&provider.url));
    let payment = pay(&neonomics).await.expect("created");
    assert_eq!(payment.sca, ScaLink::StartAuthorisation);
    let psu = Psu {
        ip: [203, 0, 113, 7].into(),
        user_agent: None,
        accept_language: None,
    };
    let attended = CallContext {
        psu: Some(psu),
        ..context()
    };
    let start = async || {
        let started = neonomics.start_authorisation("sepa", "p1", REDIRECTS, &attended).await;
        started.expect("started")
    };
    assert!(matches!(start().await, ScaLink::Redirect(url) if url.as_str() == "https://dnb.no/sca/1"));
    assert_eq!(start().await, ScaLink::Untrusted);
    assert_eq!(start().await, ScaLink::None);
    let seen = &provider.seen()[2];
    assert_eq!(seen.line(), "POST /v1/payments/sepa/p1/authorisations HTTP/1.1");
    assert_eq!(seen.header("psu-ip-address"), Some("203.0.113.7"));
    assert_eq!(seen.header("tpp-redirect-uri"), Some("https://getdrop.no/back?state=s"));
}
