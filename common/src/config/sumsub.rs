use std::str::FromStr;

use secrecy::SecretString;

use super::reader::Reader;

/// Identity verification: outbound calls.
#[derive(Debug, Clone)]
pub struct SumsubConfig {
    /// `SUMSUB_BASE_URL`, default `https://api.sumsub.com`, outside production required; no trailing slash.
    pub base_url: String,
    /// `SUMSUB_APP_TOKEN`. Required.
    pub app_token: SecretString,
    /// `SUMSUB_AUTH`, `bearer` (default, contract) or `signed` (the provider's own scheme).
    pub auth: SumsubAuth,
    /// `SUMSUB_APP_SECRET`. Required with `signed`.
    pub app_secret: Option<SecretString>,
    /// `SUMSUB_LEVEL`, default `basic-kyc-level`; case-sensitive.
    pub level: String,
}

/// How our calls prove who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SumsubAuth {
    /// `Authorization: Bearer` (contract).
    Bearer,
    /// `X-App-Token`, `X-App-Access-Ts`, `X-App-Access-Sig` (real).
    Signed,
}

impl FromStr for SumsubAuth {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "bearer" => Ok(Self::Bearer),
            "signed" => Ok(Self::Signed),
            _ => Err(()),
        }
    }
}

/// Identity verification: inbound webhooks.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// `SUMSUB_SECRET_KEY`. Required; an empty one would let anybody sign.
    pub secret: SecretString,
    /// `SUMSUB_SECRET_KEY_PREVIOUS`, default none: accepted during a rotation.
    pub secret_previous: Option<SecretString>,
    /// `SUMSUB_LEVEL`, default `basic-kyc-level`.
    pub level: String,
    /// `SUMSUB_WEBHOOK_SHA1`, default false: accept the legacy `HMAC_SHA1_HEX`.
    pub allow_sha1: bool,
}

impl SumsubConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let local = reader.profile.is_local();
        let default = reader.profile.is_production().then_some("https://api.sumsub.com");
        let config = Self {
            base_url: reader
                .url("SUMSUB_BASE_URL", default, local)
                .trim_end_matches('/')
                .to_owned(),
            app_token: reader.secret("SUMSUB_APP_TOKEN"),
            auth: reader.parsed("SUMSUB_AUTH", SumsubAuth::Bearer, "is neither bearer nor signed"),
            app_secret: reader.optional_secret("SUMSUB_APP_SECRET"),
            level: level(reader),
        };
        if config.auth == SumsubAuth::Signed && config.app_secret.is_none() {
            reader.problem("SUMSUB_APP_SECRET", "is required with SUMSUB_AUTH=signed");
        }
        config
    }
}

impl WebhookConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            secret: reader.secret("SUMSUB_SECRET_KEY"),
            secret_previous: reader.optional_secret("SUMSUB_SECRET_KEY_PREVIOUS"),
            level: level(reader),
            allow_sha1: reader.flag("SUMSUB_WEBHOOK_SHA1", false),
        }
    }
}

fn level(reader: &mut Reader<'_>) -> String {
    reader.text_or("SUMSUB_LEVEL", "basic-kyc-level")
}
