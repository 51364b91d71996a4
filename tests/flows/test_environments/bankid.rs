//! What the contract's section 3.1 says of `BankID`.

use std::{cell::RefCell, collections::BTreeMap};

use drop_tests::{
    aimed::{Aimed, Task, answer, text},
    app_person::{CHALLENGE, VERIFIER},
    person::{Answer, browser},
};
use reqwest::{
    Method, RequestBuilder, Url,
    header::{ACCEPT, COOKIE, LOCATION, SET_COOKIE},
};
use serde_json::{Value, json};

/// Somebody who is signed in, and stays so for as long as it takes.
pub(super) struct Person {
    pub(super) user: String,
    tokens: RefCell<Tokens>,
    /// What exchanges a refresh token, without one.
    refresh: RequestBuilder,
}

struct Tokens {
    access: String,
    refresh: String,
}

impl Tokens {
    fn of(body: &Value) -> Self {
        Self {
            access: text(body, "accessToken"),
            refresh: text(body, "refreshToken"),
        }
    }
}

/// A login that an app has started, and the parameters with which `BankID` is asked.
struct Started {
    id: String,
    page: String,
    asked: BTreeMap<String, String>,
}

async fn starts(aimed: &Aimed) -> Started {
    let start = aimed.request(Method::POST, "/v1/auth/bankid/logins");
    let started = answer(start.json(&json!({ "appChallenge": CHALLENGE }))).await;
    assert_eq!(started.status, 201, "{:?}", started.problem());
    let page = text(&started.body, "authorizationUrl");
    let url = Url::parse(&page).unwrap();
    Started {
        id: text(&started.body, "id"),
        asked: url.query_pairs().into_owned().collect(),
        page,
    }
}

/// Its document names itself and the page that we send people to, it has keys, and it knows us and our address.
pub(super) async fn is_what_it_says(aimed: &Aimed) {
    let issuer = aimed.value("BANKID_ISSUER").unwrap();
    let document = browser().get(format!("{issuer}/.well-known/openid-configuration"));
    let document = answer(document).await;
    assert_eq!(document.status, 200);
    assert_eq!(text(&document.body, "issuer"), issuer, "compared byte by byte");
    let keys = answer(browser().get(text(&document.body, "jwks_uri"))).await;
    assert!(keys.body["keys"].as_array().is_some_and(|keys| !keys.is_empty()));

    let Started { page, asked, .. } = starts(aimed).await;
    let (place, _) = page.split_once('?').unwrap();
    assert_eq!(place, text(&document.body, "authorization_endpoint"));
    let usual = aimed.public("/api/auth/bankid/callback");
    let (client, back) = (
        aimed.value("BANKID_CLIENT_ID").unwrap(),
        aimed.value("BANKID_REDIRECT_URI").unwrap_or(usual),
    );
    let scope = aimed
        .value("BANKID_SCOPE")
        .unwrap_or_else(|| "openid profile".to_owned());
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", &client),
        ("redirect_uri", &back),
        ("scope", &scope),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(asked.get(name).map(String::as_str), Some(value), "{name}");
    }
    for random in ["state", "nonce", "code_challenge"] {
        assert!(asked.get(random).is_some_and(|value| value.len() >= 43), "{random}");
    }
    // One that does not know the client or its address shows a page that says so, with 400.
    let shown = browser().get(&page).send().await.unwrap();
    let status = shown.status();
    assert!(
        status.is_success() || status.is_redirection(),
        "BankID refuses the login with {status}"
    );
}

/// 502 `token_exchange_failed`, by the provider's own word about the code.
pub(super) async fn refuses_a_code_that_it_never_gave(aimed: &Aimed) {
    let start = aimed
        .request(Method::GET, "/api/auth/bankid/login")
        .send()
        .await
        .unwrap();
    assert_eq!(start.status(), 303);
    let header = |name| start.headers()[name].to_str().unwrap();
    let cookie = header(SET_COOKIE).split(';').next().unwrap();
    let page = Url::parse(header(LOCATION)).unwrap();
    let (_, state) = page.query_pairs().find(|(name, _)| name == "state").unwrap();
    let issuer = aimed.value("BANKID_ISSUER").unwrap();
    let back = aimed.request(Method::GET, "/api/auth/bankid/callback").query(&[
        ("code", "a-code-that-was-never-given"),
        ("state", &state),
        ("iss", &issuer),
    ]);
    let refused = answer(back.header(COOKIE, cookie).header(ACCEPT, "application/json")).await;
    assert_eq!(refused.problem(), (502, "token_exchange_failed"));
}

/// `bankid_cancelled`, in the link that opens the app.
pub(super) async fn tells_of_somebody_who_cancels(aimed: &Aimed) {
    let started = starts(aimed).await;
    aimed.have_done(Task::CancelLogin(started.page)).await;
    let opened = aimed.app.opened().await;
    assert_eq!(opened.get("login"), Some(&started.id));
    assert_eq!(opened.get("error").map(String::as_str), Some("bankid_cancelled"));
}

/// From `BankID` into the app, where code and verifier together are worth a session, once.
pub(super) async fn logs_in(aimed: &Aimed) -> Person {
    let started = starts(aimed).await;
    aimed.have_done(Task::SignIn(started.page)).await;
    let opened = aimed.app.opened().await;
    assert_eq!(opened.get("login"), Some(&started.id));
    assert_eq!(opened.get("error"), None);
    let redemption = json!({ "loginCode": opened.get("login_code"), "appVerifier": VERIFIER });
    let path = format!("/v1/auth/bankid/logins/{}/redeem", started.id);
    let redeem = async || answer(aimed.request(Method::POST, &path).json(&redemption)).await;
    let mut redeemed = redeem().await;
    while redeemed.status == 202 {
        redeemed = redeem().await;
    }
    assert_eq!(redeemed.status, 200, "{:?}", redeemed.problem());
    let again = redeem().await;
    assert_eq!(again.problem(), (400, "invalid_state"), "a code is good once");
    let person = Person {
        user: text(&redeemed.body["user"], "id"),
        tokens: RefCell::new(Tokens::of(&redeemed.body)),
        refresh: aimed.request(Method::POST, "/v1/auth/refresh"),
    };
    let me: Value = person.get(aimed, "/v1/me").await;
    assert_eq!(text(&me, "id"), person.user);
    // People take longer than a token lives: the rest of the way begins with one that is over.
    "over".clone_into(&mut person.tokens.borrow_mut().access);
    person
}

impl Person {
    /// What is there.
    pub(super) async fn get(&self, aimed: &Aimed, path: &str) -> Value {
        let seen = self.asks(aimed.request(Method::GET, path)).await;
        assert_eq!(seen.status, 200, "{path}: {:?}", seen.problem());
        seen.body
    }

    /// What is there by now, for [`Aimed::until`].
    ///
    /// # Panics
    /// When the request is refused: waiting would not help.
    pub(super) async fn sees(&self, look: &RequestBuilder) -> Answer {
        let seen = self.asks(look.try_clone().unwrap()).await;
        assert!(!seen.status.is_client_error(), "refused: {:?}", seen.problem());
        seen
    }

    /// Asks with the access token, and once more with a new one where it is over.
    pub(super) async fn asks(&self, request: RequestBuilder) -> Answer {
        let again = request.try_clone().unwrap();
        let first = answer(self.signs(request)).await;
        if first.status != 401 {
            return first;
        }
        let token = json!({ "refreshToken": self.tokens.borrow().refresh });
        let refreshed = answer(self.refresh.try_clone().unwrap().json(&token)).await;
        assert_eq!(refreshed.status, 200, "refreshing: {:?}", refreshed.problem());
        self.tokens.replace(Tokens::of(&refreshed.body));
        answer(self.signs(again)).await
    }

    fn signs(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(&self.tokens.borrow().access)
    }
}
