//! What the tests about logins share: browsers with addresses of their own, and what a refused login may leave behind.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicU16, AtomicU32, Ordering},
};

use drop_sandbox::{Mutation, Operation, Parameter, Person};
use drop_tests::{
    app::TestApp,
    person::{Answer, browser},
};
use reqwest::{
    Url,
    header::{ACCEPT, COOKIE, LOCATION, SET_COOKIE},
};

/// The code of a login whose ID token was read and fails a check.
pub(super) const FAILS_A_CHECK: &str = "jwks_verification_failed";
/// The code of a login whose ID token was not to be had, or not to be read.
pub(super) const NO_TOKEN: &str = "token_exchange_failed";

/// Words of BankID's own, which are nobody's business but ours.
pub(super) const THEIR_WORDS: &str = "words-of-bankids-own";

/// The peer is a proxy of ours, so that each browser counts by the address it says it has.
pub(super) const BEHIND_A_PROXY: (&str, &str) = ("DROP_TRUSTED_PROXIES", "127.0.0.1");

/// The service behind a proxy.
pub(super) async fn service() -> TestApp {
    service_with(&[]).await
}

/// The same with some variables set otherwise.
pub(super) async fn service_with(changes: &[(&'static str, &str)]) -> TestApp {
    TestApp::start_with(&[&[BEHIND_A_PROXY][..], changes].concat()).await
}

/// A browser on a line of its own.
pub(super) struct Browser<'a> {
    app: &'a TestApp,
    address: IpAddr,
}

/// A login between leaving for BankID and coming back.
pub(super) struct Underway {
    /// BankID's page for this login.
    pub(super) authorization_url: String,
    /// Every cookie that the start has set.
    pub(super) cookies: String,
}

impl<'a> Browser<'a> {
    /// One that nobody else shares its address with.
    pub(super) fn of(app: &'a TestApp) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let line = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = Ipv6Addr::new(0x2001, 0xdb8, 0, line, 0, 0, 0, 1).into();
        Self { app, address }
    }

    /// Clicks on "log in".
    pub(super) async fn starts(&self) -> Underway {
        let url = format!("{}/api/auth/bankid/login", self.app.url);
        let request = browser().get(url).header("X-Forwarded-For", self.address.to_string());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 303);
        let cookies = answer.headers().get_all(SET_COOKIE).iter();
        let cookies: Vec<_> = cookies
            .map(|cookie| cookie.to_str().unwrap().split(';').next().unwrap())
            .collect();
        Underway {
            authorization_url: answer.headers()[LOCATION].to_str().unwrap().to_owned(),
            cookies: cookies.join("; "),
        }
    }

    /// Comes back to this address, with these cookies.
    pub(super) async fn returns(&self, callback: &str, cookies: &str) -> Answer {
        self.asks(callback, cookies, "wait=15").await
    }

    /// The same without waiting for the outcome.
    pub(super) async fn returns_without_waiting(&self, callback: &str, cookies: &str) -> Answer {
        self.asks(callback, cookies, "respond-async").await
    }

    async fn asks(&self, address: &str, cookies: &str, prefer: &str) -> Answer {
        let request = browser().get(address).header(COOKIE, cookies).header("Prefer", prefer);
        let request = request
            .header(ACCEPT, "application/json")
            .header("X-Forwarded-For", self.address.to_string());
        let answer = request.send().await.unwrap();
        let headers = format!("{:?}", answer.headers());
        let answer = Answer::of(answer).await;
        let shown = format!("{headers} {}", answer.body);
        assert!(!shown.contains(THEIR_WORDS), "BankID's own words are shown: {shown}");
        answer
    }

    /// Starts, signs in at BankID, and comes back.
    pub(super) async fn logs_in(&self, person: &str) -> Answer {
        let underway = self.starts().await;
        let callback = signed_in(self.app, &underway, person);
        self.returns(&callback, &underway.cookies).await
    }
}

/// Where BankID sends the browser after the person has signed in.
pub(super) fn signed_in(app: &TestApp, underway: &Underway, person: &str) -> String {
    app.sandbox
        .bankid()
        .sign_in(&underway.authorization_url, person)
        .expect("a way back")
}

/// Somebody who has never logged in: an adult with a synthetic number of their own.
pub(super) fn newcomer(app: &TestApp) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = std::iter::from_fn(|| Some(NEXT.fetch_add(1, Ordering::Relaxed)))
        .find_map(|number| with_control(&format!("{:02}8185{:03}", 1 + number % 28, number / 28)));
    let number = number.expect("most numbers have control digits");
    app.sandbox.bankid().add_person(Person {
        key: number.clone(),
        birthdate: Some(format!("1985-01-{}", &number[..2])),
        national_id: Some(number.clone()),
        given_name: "Ny".into(),
        family_name: "Kommen".into(),
        note: String::new(),
    });
    number
}

/// The two control digits behind nine; `None` where one would be 10.
fn with_control(nine: &str) -> Option<String> {
    let control = |digits: &str, weights: &[u32]| {
        let digits = digits.bytes().map(|digit| u32::from(digit - b'0'));
        let sum: u32 = digits.zip(weights).map(|(digit, weight)| digit * weight).sum();
        let control = (11 - sum % 11) % 11;
        (control < 10).then(|| format!("{control}"))
    };
    let ten = format!("{nine}{}", control(nine, &[3, 7, 6, 1, 8, 9, 4, 5, 2])?);
    let last = control(&ten, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2])?;
    Some(ten + &last)
}

/// The value of a parameter of this address.
pub(super) fn parameter(address: &str, name: &str) -> String {
    let address = Url::parse(address).unwrap();
    let found = address.query_pairs().find(|(key, _)| key == name);
    found.expect("the parameter").1.into_owned()
}

/// The same address with these parameters in place of those of their names.
pub(super) fn with(address: &str, parameters: &[Parameter]) -> String {
    let mut address = Url::parse(address).unwrap();
    let kept = address.query_pairs().into_owned();
    let kept = kept.filter(|(name, _)| parameters.iter().all(|parameter| parameter.name != *name));
    let given = parameters
        .iter()
        .filter_map(|parameter| Some((parameter.name.clone(), parameter.value.clone()?)));
    let pairs: Vec<_> = kept.chain(given).collect();
    address.query_pairs_mut().clear().extend_pairs(pairs);
    address.into()
}

/// What a refused login must leave as it was, and how often BankID was asked for tokens.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    users: i64,
    sessions: i64,
    token_requests: usize,
}

impl Held {
    async fn by(app: &TestApp) -> Self {
        let (users, sessions) = sqlx::query_as("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM sessions)")
            .fetch_one(&app.db)
            .await
            .unwrap();
        Self {
            users,
            sessions,
            token_requests: token_requests(app),
        }
    }
}

/// How often BankID was asked for tokens.
pub(super) fn token_requests(app: &TestApp) -> usize {
    app.sandbox.journal().entries_of(Operation::BankidToken).len()
}

/// Has a login end with this status and code: no user, no session, no secret kept, so many requests for tokens, and no
/// panic or other accident on the way, which would end it too.
pub(super) async fn leaves_nothing(
    app: &TestApp,
    way: &str,
    end: (u16, &str),
    token_requests: usize,
    login: impl AsyncFnOnce() -> Answer,
) {
    let before = Held::by(app).await;
    assert_eq!(login().await.problem(), end, "{way}");
    let expected = Held {
        token_requests: before.token_requests + token_requests,
        ..before
    };
    assert_eq!(Held::by(app).await, expected, "{way}");
    let left: (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM logins
                  WHERE status <> 'started' AND num_nonnulls(code_sealed, nonce_sealed, verifier_sealed) > 0),
                (SELECT count(*) FROM job_attempts a JOIN jobs j ON j.id = a.job_id WHERE j.kind = 'check-login')",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert_eq!(left, (0, 0), "{way}: logins with their secrets, attempts that failed");
}

/// The same for somebody's first login; and whatever it was, the same person gets in with the same browser right after.
pub(super) async fn ends_with(
    app: &TestApp,
    way: &str,
    end: (u16, &str),
    token_requests: usize,
    login: impl AsyncFnOnce(&Browser<'_>, &str) -> Answer,
) {
    let (browser, person) = (Browser::of(app), newcomer(app));
    leaves_nothing(app, way, end, token_requests, async || login(&browser, &person).await).await;
    gets_in(app, &browser, &person).await;
}

/// Logs in, and must succeed. The user's id.
pub(super) async fn gets_in(app: &TestApp, browser: &Browser<'_>, person: &str) -> String {
    let answer = browser.logs_in(person).await;
    assert_eq!(answer.status, 200, "{person}: {:?}", answer.problem());
    app.person(&answer).user
}

/// A token that is spoilt so ends the login with this code.
pub(super) async fn is_refused(app: &TestApp, way: &str, spoilt: Vec<Mutation>, code: &str) {
    app.sandbox.bankid().spoil_next(spoilt);
    ends_with(app, way, (502, code), 1, async |browser, person| {
        browser.logs_in(person).await
    })
    .await;
}

/// A token that is changed so is as good as any.
pub(super) async fn is_accepted(app: &TestApp, way: &str, changed: Vec<Mutation>) {
    app.sandbox.bankid().spoil_next(changed);
    let answer = Browser::of(app).logs_in(&newcomer(app)).await;
    assert_eq!(answer.status, 200, "{way}: {:?}", answer.problem());
}
