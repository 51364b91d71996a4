//! A BankID that a test signs for.

mod authorize;
mod discovery;
mod exchange;
mod keys;
mod token;
mod unused_claims;

use std::time::Duration;

use chrono::{DateTime, Utc};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{BankId, LoginRefused, UnverifiedTokens, VerifiedClaims};
use crate::{
    config::{BankIdConfig, BankIdCredentials},
    keyring::base64url,
    providers::{
        http::Trace,
        testing::{FakeProvider, json as reply},
        unobserved,
    },
};

const ISSUER: &str = "https://auth.bankid.example/auth/realms/prod";
const PID: &str = "13897249477";

/// A signing key of the fake BankID.
struct Signer {
    kid: &'static str,
    pair: EcdsaKeyPair,
}

impl Signer {
    fn new(kid: &'static str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).expect("a key");
        Self { kid, pair }
    }

    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({"kty":"EC","crv":"P-256","use":"sig","alg":"ES256","kid":self.kid,"x":base64url(&point[1..33]),"y":base64url(&point[33..65])})
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({"alg":"ES256","kid":self.kid,"typ":"JWT"}), claims)
    }

    fn sign_with(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    fn sign_text(&self, header: &str, claims: &str) -> String {
        let text = format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()));
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).expect("signed");
        format!("{text}.{}", base64url(signature.as_ref()))
    }
}

fn config(url: &str) -> BankIdConfig {
    BankIdConfig {
        mock: false,
        client_id: "drop".to_owned(),
        issuer: ISSUER.to_owned(),
        authorization_url: format!("{ISSUER}/protocol/openid-connect/auth"),
        token_url: format!("{url}/token"),
        jwks_url: format!("{url}/certs"),
        discovery: None,
        redirect_uri: "https://getdrop.no/api/auth/bankid/callback".to_owned(),
        scope: "openid profile".to_owned(),
        acr_values: "urn:bankid:bid".to_owned(),
        require_acr: false,
        require_iss_param: false,
        national_id_claims: vec!["pid".to_owned(), "nnin_altsub".to_owned()],
        subject_claim: "sub".to_owned(),
        jwks_ttl: Duration::from_mins(5),
        synthetic_ids: vec!["tenor".to_owned()],
        relaxed_2032: false,
    }
}

fn client(config: BankIdConfig) -> BankId {
    BankId::new(config, BankIdCredentials::Secret("bankid secret".into()), unobserved()).expect("loopback")
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000, 0).expect("a valid time")
}

fn trace() -> Trace {
    Trace {
        request_id: Uuid::from_u128(3),
        correlation_id: None,
        not_after: None,
    }
}

fn claims() -> Value {
    let at = now().timestamp();
    json!({
        "iss": ISSUER, "aud": "drop", "sub": "s-1", "exp": at + 300, "iat": at, "nonce": "the-nonce", "typ": "ID",
        "pid": PID, "name": "Anna Berit Hansen", "birthdate": "1972-09-13", "acr": "urn:bankid:bid;LOA=4",
        "auth_time": at, "amr": ["BID"], "bankid_altsub": "altsub-1", "tid": {"any": 1},
    })
}

fn keys(signers: &[&Signer]) -> String {
    reply(
        200,
        &json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string(),
    )
}

fn tokens(id_token: String) -> UnverifiedTokens {
    UnverifiedTokens {
        id_token: id_token.into(),
        access_token: Some("access".into()),
    }
}

async fn check_at(bankid: &BankId, id_token: String, now: DateTime<Utc>) -> Result<VerifiedClaims, LoginRefused> {
    bankid
        .verify(&tokens(id_token), &"the-nonce".into(), trace(), now)
        .await
}

/// Verifies a token with `change` merged into its claims (null removes one).
async fn with_claims(change: Value, adjust: impl FnOnce(&mut BankIdConfig)) -> Result<VerifiedClaims, LoginRefused> {
    let signer = Signer::new("k1");
    let provider = FakeProvider::start([keys(&[&signer]), keys(&[&signer])]).await;
    let mut all = claims();
    for (name, value) in change.as_object().expect("an object") {
        let object = all.as_object_mut().expect("an object");
        if value.is_null() {
            object.remove(name)
        } else {
            object.insert(name.clone(), value.clone())
        };
    }
    let mut config = config(&provider.url);
    adjust(&mut config);
    check_at(&client(config), signer.sign(&all), now()).await
}
