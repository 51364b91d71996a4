//! The configuration of the service under test and of the simulated providers, which must agree.

use drop_common::config::Environment;
use drop_sandbox::SandboxConfig;

const CLIENT_ID: &str = "drop-test";
/// What the service proves itself to `BankID` with.
pub const BANKID_SECRET: &str = "bankid-test-secret";
/// What the service proves itself to Neonomics with.
pub const NEONOMICS_SECRET: &str = "neonomics-test-secret";
/// What the service proves itself to Sumsub with.
pub const SUMSUB_TOKEN: &str = "sumsub-test-token";
/// What signs the webhooks of these tests.
pub const SUMSUB_SECRET: &str = "sumsub-test-webhook-secret";
/// An Ed25519 key in PKCS#8 made for these tests; it signs nothing else.
pub const SESSION_KEY: &str = "MC4CAQAwBQYDK2VwBCIEILR1TN2wi9YOEh4xnRQB1N1F0T+13b59SQaqg3IfiOhi";
/// What opens the app. Nothing is ever sent there.
pub const APP_LINK: &str = "https://drop.example/app/login";
/// 32 bytes for these tests.
const ENCRYPTION_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The providers of a service that is reached at `url`.
pub fn sandbox(url: &str) -> SandboxConfig {
    SandboxConfig {
        client_id: CLIENT_ID.into(),
        client_secret: BANKID_SECRET.into(),
        redirect_uris: vec![format!("{url}/api/auth/bankid/callback")],
        neonomics_client_id: CLIENT_ID.into(),
        neonomics_client_secret: NEONOMICS_SECRET.into(),
        sumsub_app_token: SUMSUB_TOKEN.into(),
        sumsub_secret_key: SUMSUB_SECRET.into(),
        sumsub_webhook_url: Some(format!("{url}/v1/webhooks/sumsub")),
        ..SandboxConfig::default()
    }
}

/// The variables of a service that is reached at `url`, but for `DATABASE_URL`, which each of its processes has its own of.
pub fn variables(url: &str, providers: &str) -> Vec<(&'static str, String)> {
    vec![
        ("DROP_PROFILE", "local".into()),
        ("DROP_PUBLIC_URL", url.to_owned()),
        ("DROP_APP_LINK", APP_LINK.into()),
        ("DROP_SESSION_KEY", SESSION_KEY.into()),
        ("DROP_ENCRYPTION_KEY", ENCRYPTION_KEY.into()),
        ("BANKID_MOCK", "true".into()),
        ("BANKID_ISSUER", format!("{providers}/bankid")),
        ("BANKID_CLIENT_ID", CLIENT_ID.into()),
        ("BANKID_CLIENT_SECRET", BANKID_SECRET.into()),
        ("BANKID_SYNTHETIC_IDS", "tenor".into()),
        ("NEONOMICS_BASE_URL", format!("{providers}/neonomics")),
        ("NEONOMICS_TOKEN_URL", format!("{providers}/neonomics/auth/token")),
        ("NEONOMICS_CLIENT_ID", CLIENT_ID.into()),
        ("NEONOMICS_CLIENT_SECRET", NEONOMICS_SECRET.into()),
        ("SUMSUB_BASE_URL", format!("{providers}/sumsub")),
        ("SUMSUB_APP_TOKEN", SUMSUB_TOKEN.into()),
        ("SUMSUB_SECRET_KEY", SUMSUB_SECRET.into()),
    ]
}

/// The same, as a process reads it.
pub(crate) fn environment(variables: Vec<(&'static str, String)>) -> Environment {
    variables.into_iter().collect()
}
