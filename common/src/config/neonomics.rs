use std::{str::FromStr, time::Duration};

use secrecy::SecretString;

use super::{ClientCertificateConfig, reader::Reader};

/// Open banking. Defaults speak the contract; every deviation of a provider is a setting.
#[derive(Debug, Clone)]
pub struct NeonomicsConfig {
    /// `NEONOMICS_BASE_URL`, default `https://api.neonomics.io` in production, else required; no trailing slash.
    pub base_url: String,
    /// `NEONOMICS_TOKEN_URL`, default `<base>/auth/token`.
    pub token_url: String,
    /// `NEONOMICS_CLIENT_ID`. Required.
    pub client_id: String,
    /// `NEONOMICS_CLIENT_SECRET`. Required.
    pub client_secret: SecretString,
    /// `NEONOMICS_CLIENT_CERT` and `NEONOMICS_CLIENT_KEY`, default none: what proves us while TLS connects.
    pub client_certificate: Option<ClientCertificateConfig>,
    /// `NEONOMICS_CLIENT_CERT_LOOK_S`, seconds, default 60: how often the certificate's files are looked at again.
    pub client_certificate_look: Duration,
    /// `NEONOMICS_CONNECT_TIMEOUT_MS`, milliseconds, default 5000 (contract).
    pub connect_timeout: Duration,
    /// `NEONOMICS_READ_TIMEOUT_MS`, milliseconds for a whole call, default 30000 (contract): banks may think this long.
    pub read_timeout: Duration,
    /// `PISP_STATUS_PATH`, default `/v1/payments/{paymentId}/status`; may hold `{product}`.
    pub status_path: String,
    /// `NEONOMICS_CONSENT_HEADER`, default `both`: under which names the consent goes along.
    pub consent_header: ConsentHeader,
    /// `PISP_PAYMENT_PATH`, default `/v1/payments/{product}/{paymentId}` (the standard; the contract names none): the payment
    /// as the bank has it, and below it the start of its approval.
    pub payment_path: String,
    /// `PISP_BBAN_WIRE`, default `as_given`: how a foreign account number is written.
    pub bban_wire: BbanWire,
    /// `PISP_PROVISIONAL_COMPLETED`, comma-separated codes, default `ACCP`; empty is strict.
    pub provisional_completed: Vec<String>,
    /// `PISP_DEDUPE_PROVEN`, default false: set only when the bank is known to deduplicate on `X-Request-ID`.
    pub dedupe_proven: bool,
    /// `PISP_RETRY_5XX`, default `always`: what follows when the bank answers an order with 500, 502 or 503.
    pub retry_5xx: Retry5xx,
    /// `PISP_CONSENT_ID`, default none: the consent that goes along with each payment (contract 3.3, `pisConsentId`). The
    /// contract names no call that gives one, so it is what the provider has agreed with the owner.
    pub payment_consent: Option<SecretString>,
    /// `PSU_IP_V6`, `send` (default) or `omit`: the standard's schema of the user's address is IPv4.
    pub send_ip_v6: bool,
    /// `SCA_HOSTS`, comma-separated hosts, required outside local: where a user may be sent to approve.
    pub sca_hosts: Vec<String>,
    /// Follows `DROP_PROFILE`: only a local system may send a user to `http` on loopback.
    pub sca_loopback_http: bool,
}

/// The headers that name the consent of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentHeader {
    /// The contract's `X-Consent-ID` and the standard's `Consent-ID`, with the same value.
    Both,
    /// `Consent-ID` alone.
    Standard,
}

impl FromStr for ConsentHeader {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "both" => Ok(Self::Both),
            "standard" => Ok(Self::Standard),
            _ => Err(()),
        }
    }
}

/// What follows when the bank answers an order with 500, 502 or 503.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry5xx {
    /// It is sent again under its key, three times at most (contract 3.3).
    Always,
    /// Only where `PISP_DEDUPE_PROVEN`. Else nobody knows whether the bank has it, and a person looks.
    Deduplicated,
}

impl FromStr for Retry5xx {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "always" => Ok(Self::Always),
            "deduplicated" => Ok(Self::Deduplicated),
            _ => Err(()),
        }
    }
}

/// How a foreign BBAN is written in a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BbanWire {
    /// As the person gave it, dashes included (contract).
    AsGiven,
    /// Letters and digits only (the standard's pattern).
    Stripped,
}

impl FromStr for BbanWire {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "as_given" => Ok(Self::AsGiven),
            "stripped" => Ok(Self::Stripped),
            _ => Err(()),
        }
    }
}

impl NeonomicsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let local = reader.profile.is_local();
        let default = reader.profile.is_production().then_some("https://api.neonomics.io");
        let base_url = reader
            .url("NEONOMICS_BASE_URL", default, local)
            .trim_end_matches('/')
            .to_owned();
        let config = Self {
            token_url: reader.url("NEONOMICS_TOKEN_URL", Some(&format!("{base_url}/auth/token")), local),
            base_url,
            client_id: reader.required("NEONOMICS_CLIENT_ID"),
            client_secret: reader.secret("NEONOMICS_CLIENT_SECRET"),
            client_certificate: ClientCertificateConfig::read(reader),
            client_certificate_look: ClientCertificateConfig::look_every(reader),
            connect_timeout: reader.millis("NEONOMICS_CONNECT_TIMEOUT_MS", 5_000, 1..=60_000),
            read_timeout: reader.millis("NEONOMICS_READ_TIMEOUT_MS", 30_000, 1..=120_000),
            status_path: reader.text_or("PISP_STATUS_PATH", "/v1/payments/{paymentId}/status"),
            consent_header: reader.parsed(
                "NEONOMICS_CONSENT_HEADER",
                ConsentHeader::Both,
                "is neither both nor standard",
            ),
            payment_path: reader.text_or("PISP_PAYMENT_PATH", "/v1/payments/{product}/{paymentId}"),
            bban_wire: reader.parsed("PISP_BBAN_WIRE", BbanWire::AsGiven, "is neither as_given nor stripped"),
            provisional_completed: reader.list("PISP_PROVISIONAL_COMPLETED", "ACCP"),
            dedupe_proven: reader.flag("PISP_DEDUPE_PROVEN", false),
            retry_5xx: reader.parsed("PISP_RETRY_5XX", Retry5xx::Always, "is neither always nor deduplicated"),
            payment_consent: reader.optional_secret("PISP_CONSENT_ID"),
            send_ip_v6: match reader.text_or("PSU_IP_V6", "send").as_str() {
                "send" => true,
                "omit" => false,
                _ => {
                    reader.problem("PSU_IP_V6", "is neither send nor omit");
                    false
                }
            },
            sca_hosts: reader.list("SCA_HOSTS", ""),
            sca_loopback_http: local,
        };
        config.check(reader);
        config
    }

    fn check(&self, reader: &mut Reader<'_>) {
        let path = &self.status_path;
        if !path.starts_with('/') || !path.contains("{paymentId}") || !path.ends_with("/status") {
            reader.problem("PISP_STATUS_PATH", "must be /…{paymentId}…/status");
        }
        let path = &self.payment_path;
        if !path.starts_with('/') || !path.contains("{paymentId}") || path.ends_with('/') {
            reader.problem(
                "PISP_PAYMENT_PATH",
                "must be /…{paymentId}…, without a slash at its end",
            );
        }
        if self.sca_hosts.is_empty() && !self.sca_loopback_http {
            reader.problem("SCA_HOSTS", "is required");
        }
        if self.sca_hosts.iter().any(|host| host.contains(['*', '/', ':', ' '])) {
            reader.problem("SCA_HOSTS", "must be plain host names");
        }
    }
}
