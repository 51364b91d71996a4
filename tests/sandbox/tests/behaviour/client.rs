//! A plain HTTP client and the requests that several tests make.

use drop_sandbox::{Decision, Sandbox, SandboxConfig};
use reqwest::{Client, RequestBuilder, Url, redirect::Policy};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) const CALLBACK: &str = "http://127.0.0.1:8080/api/auth/bankid/callback";
pub(crate) const VERIFIER: &str = "a-verifier-of-the-least-length-that-pkce-allows";

pub(crate) async fn start() -> (Sandbox, Client) {
    let sandbox = Sandbox::start(SandboxConfig::default()).await.expect("a free port");
    let client = Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .build()
        .expect("a client");
    (sandbox, client)
}

/// Base64url without padding, by another way than the sandbox's: bit by bit.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    let alphabet: Vec<char> = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(['-', '_'])
        .collect();
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let index = |six: &[u8]| {
        (0..6).fold(0_usize, |index, bit| {
            index << 1 | usize::from(*six.get(bit).unwrap_or(&0))
        })
    };
    bits.chunks(6).map(|six| alphabet[index(six)]).collect()
}

pub(crate) fn from_base64url(text: &str) -> Vec<u8> {
    let alphabet: Vec<char> = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(['-', '_'])
        .collect();
    let value = |c| {
        alphabet
            .iter()
            .position(|known| *known == c)
            .expect("a base64url character")
    };
    let bits: Vec<usize> = text
        .chars()
        .map(value)
        .flat_map(|six| (0..6).rev().map(move |bit| six >> bit & 1))
        .collect();
    let byte = |eight: &[usize]| u8::try_from(eight.iter().fold(0, |byte, bit| byte << 1 | bit)).expect("eight bits");
    bits.chunks_exact(8).map(byte).collect()
}

pub(crate) fn query_of(address: &str, name: &str) -> Option<String> {
    let url = Url::parse(address).expect("an address");
    url.query_pairs()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// The address of a right login request, with PKCE.
pub(crate) fn login_address(sandbox: &Sandbox) -> String {
    let challenge = base64url(digest(&SHA256, VERIFIER.as_bytes()).as_ref());
    let mut url = Url::parse(&format!("{}/bankid/protocol/openid-connect/auth", sandbox.url())).expect("an address");
    url.query_pairs_mut().extend_pairs([
        ("client_id", "drop-local"),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("scope", "openid profile"),
        ("state", "the-state"),
        ("nonce", "the-nonce"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    url.into()
}

pub(crate) fn code_for(sandbox: &Sandbox, person: &str) -> String {
    let redirect = sandbox
        .bankid()
        .sign_in(&login_address(sandbox), person)
        .expect("a login");
    query_of(&redirect, "code").expect("a code")
}

pub(crate) fn redeem(sandbox: &Sandbox, client: &Client, code: &str, changes: &[(&str, &str)]) -> RequestBuilder {
    let mut form = std::collections::BTreeMap::from([
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("client_id", "drop-local"),
        ("client_secret", "bankid-secret-for-local-use"),
        ("code_verifier", VERIFIER),
    ]);
    form.extend(changes.iter().copied());
    client
        .post(format!("{}/bankid/protocol/openid-connect/token", sandbox.url()))
        .form(&form)
}

/// Neonomics as a client uses it: with a token, a request id and, where a user is present, the address.
pub(crate) struct Bank<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) client: &'a Client,
    pub(crate) token: String,
}

impl<'a> Bank<'a> {
    pub(crate) async fn open(sandbox: &'a Sandbox, client: &'a Client) -> Self {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "drop-local"),
            ("client_secret", "neonomics-secret-for-local-use"),
        ];
        let answer = client
            .post(format!("{}/neonomics/auth/token", sandbox.url()))
            .form(&form)
            .send()
            .await;
        let body: Value = answer.expect("an answer").json().await.expect("JSON");
        let token = body["access_token"].as_str().expect("a token").to_owned();
        Self { sandbox, client, token }
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.with_headers(
            self.client.get(format!("{}/neonomics{path}", self.sandbox.url())),
            &Uuid::new_v4().to_string(),
        )
    }

    pub(crate) fn delete(&self, path: &str) -> RequestBuilder {
        self.with_headers(
            self.client.delete(format!("{}/neonomics{path}", self.sandbox.url())),
            &Uuid::new_v4().to_string(),
        )
    }

    pub(crate) fn post(&self, path: &str, request_id: &str, body: &Value) -> RequestBuilder {
        let request = self
            .client
            .post(format!("{}/neonomics{path}", self.sandbox.url()))
            .json(body);
        self.with_headers(request, request_id)
            .header("psu-ip-address", "192.0.2.7")
            .header("tpp-redirect-uri", "http://127.0.0.1:8080/back?state=s")
    }

    fn with_headers(&self, request: RequestBuilder, request_id: &str) -> RequestBuilder {
        request.bearer_auth(&self.token).header("x-request-id", request_id)
    }

    pub(crate) async fn pay(&self, request_id: &str) -> Value {
        let answer = self
            .post("/v1/payments/sepa-credit-transfers", request_id, &order())
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 201);
        answer.json().await.expect("JSON")
    }

    pub(crate) async fn payment_status(&self, id: &str) -> String {
        let body: Value = self
            .get(&format!("/v1/payments/{id}/status"))
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        body["transactionStatus"].as_str().expect("a status").to_owned()
    }

    /// An approved consent and the id of its only account.
    pub(crate) async fn linked(&self) -> (String, String) {
        let body = consent();
        let answer = self
            .post("/v1/consents", &Uuid::new_v4().to_string(), &body)
            .send()
            .await
            .expect("an answer");
        let created: Value = answer.json().await.expect("JSON");
        let link = created["_links"]["scaRedirect"]["href"].as_str().expect("a link");
        self.sandbox
            .bank()
            .decide_at(link, Decision::Approve)
            .expect("a decision");
        let consent = created["consentId"].as_str().expect("an id").to_owned();
        let answer = self
            .get("/v1/accounts")
            .header("consent-id", &consent)
            .send()
            .await
            .expect("an answer");
        let accounts: Value = answer.json().await.expect("JSON");
        let account = accounts["accounts"][0]["resourceId"]
            .as_str()
            .expect("an id")
            .to_owned();
        (consent, account)
    }
}

pub(crate) fn consent() -> Value {
    json!({
        "access": { "accounts": [], "balances": [] },
        "recurringIndicator": true,
        "validUntil": "2099-01-01",
        "frequencyPerDay": 4,
        "combinedServiceIndicator": false,
    })
}

/// The order of the contract.
pub(crate) fn order() -> Value {
    json!({
        "debtorAccount": { "iban": "NO9386011117947" },
        "instructedAmount": { "currency": "NOK", "amount": "2010.00" },
        "creditorName": "Marko Petrovic",
        "creditorAccount": { "bban": "265-1234567-89" },
        "remittanceInformationUnstructured": "Drop remittance tx_rem_abc123",
    })
}
