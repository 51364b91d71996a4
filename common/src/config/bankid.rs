use std::time::Duration;

use super::{bankid_discovery::BankIdDiscovery, reader::Reader};

const PRODUCTION_ISSUER: &str = "https://auth.bankid.no/auth/realms/prod";

/// How we talk to BankID.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct BankIdConfig {
    /// `BANKID_MOCK`, default false: the issuer is the local sandbox. Never in production.
    pub mock: bool,
    /// `BANKID_CLIENT_ID`. Required.
    pub client_id: String,
    /// `BANKID_ISSUER`, default `https://auth.bankid.no/auth/realms/prod` (contract), compared byte
    /// by byte. Required outside production, so that a test system never meets the real one.
    pub issuer: String,
    /// `BANKID_AUTHORIZATION_URL`, default `<issuer>/protocol/openid-connect/auth`.
    pub authorization_url: String,
    /// `BANKID_TOKEN_URL`, default `<issuer>/protocol/openid-connect/token`.
    pub token_url: String,
    /// `BANKID_JWKS_URL`, default `<issuer>/protocol/openid-connect/certs`.
    pub jwks_url: String,
    /// `BANKID_DISCOVERY`, default false: the endpoints that have no variable set are read, once at start, from
    /// `<issuer>/.well-known/openid-configuration` instead.
    pub discovery: Option<BankIdDiscovery>,
    /// `BANKID_REDIRECT_URI`, default `<DROP_PUBLIC_URL>/api/auth/bankid/callback`.
    pub redirect_uri: String,
    /// `BANKID_SCOPE`, default `openid profile`.
    pub scope: String,
    /// `BANKID_ACR_VALUES`, default `urn:bankid:bid`; empty is not sent and not checked. Never empty in production.
    pub acr_values: String,
    /// `BANKID_REQUIRE_ACR`, default true in production, else false: a token without `acr` is refused. Never false in
    /// production.
    pub require_acr: bool,
    /// `BANKID_REQUIRE_ISS_PARAM`, default false: a callback without `iss` is refused. So it is where the issuer's
    /// document promises one.
    pub require_iss_param: bool,
    /// `BANKID_CLAIM_NATIONAL_ID`, comma-separated, default `pid,nnin_altsub`.
    pub national_id_claims: Vec<String>,
    /// `BANKID_CLAIM_SUBJECT`, default `sub`.
    pub subject_claim: String,
    /// `BANKID_JWKS_TTL`, seconds, default 300 (contract): how long signing keys count as fresh.
    pub jwks_ttl: Duration,
    /// `BANKID_SYNTHETIC_IDS`, comma-separated of `tenor`, `dolly`, `syntpop`, default none.
    pub synthetic_ids: Vec<String>,
    /// `BANKID_RELAXED_2032`, default false: also take numbers by the control rule for those issued from 1 January 2032.
    /// They do not tell a birth date, so the claim must.
    pub relaxed_2032: bool,
}

impl BankIdConfig {
    pub(super) fn read(reader: &mut Reader<'_>, public_url: &str) -> Self {
        let production = reader.profile.is_production();
        let mock = reader.flag("BANKID_MOCK", false);
        let plain = mock || reader.profile.is_local();
        let issuer = reader.url("BANKID_ISSUER", production.then_some(PRODUCTION_ISSUER), plain);
        let endpoint = |name: &str| format!("{issuer}/protocol/openid-connect/{name}");
        let config = Self {
            mock,
            client_id: reader.required("BANKID_CLIENT_ID"),
            authorization_url: reader.url("BANKID_AUTHORIZATION_URL", Some(&endpoint("auth")), plain),
            token_url: reader.url("BANKID_TOKEN_URL", Some(&endpoint("token")), plain),
            jwks_url: reader.url("BANKID_JWKS_URL", Some(&endpoint("certs")), plain),
            discovery: BankIdDiscovery::read(reader, &issuer, plain),
            redirect_uri: reader.url(
                "BANKID_REDIRECT_URI",
                Some(&format!("{public_url}/api/auth/bankid/callback")),
                plain,
            ),
            scope: reader.text_or("BANKID_SCOPE", "openid profile"),
            acr_values: reader.text_or("BANKID_ACR_VALUES", "urn:bankid:bid"),
            require_acr: reader.flag("BANKID_REQUIRE_ACR", production),
            require_iss_param: reader.flag("BANKID_REQUIRE_ISS_PARAM", false),
            national_id_claims: reader.list("BANKID_CLAIM_NATIONAL_ID", "pid,nnin_altsub"),
            subject_claim: reader.text_or("BANKID_CLAIM_SUBJECT", "sub"),
            jwks_ttl: reader.seconds("BANKID_JWKS_TTL", 300, 1..=86_400),
            synthetic_ids: reader.list("BANKID_SYNTHETIC_IDS", ""),
            relaxed_2032: reader.flag("BANKID_RELAXED_2032", false),
            issuer,
        };
        config.check(reader);
        config
    }

    fn check(&self, reader: &mut Reader<'_>) {
        let real = reader.profile.is_production() || self.issuer == PRODUCTION_ISSUER;
        if self.mock && real {
            reader.problem(
                "BANKID_MOCK",
                "must be off in production and with the production issuer",
            );
        }
        if !self.synthetic_ids.is_empty() && real {
            reader.problem(
                "BANKID_SYNTHETIC_IDS",
                "must be empty in production and with the production issuer",
            );
        }
        if self
            .synthetic_ids
            .iter()
            .any(|kind| !matches!(kind.as_str(), "tenor" | "dolly" | "syntpop"))
        {
            reader.problem("BANKID_SYNTHETIC_IDS", "names a range other than tenor, dolly, syntpop");
        }
        // A login of an unknown level would open an account that only the highest may.
        if reader.profile.is_production() && !self.require_acr {
            reader.problem("BANKID_REQUIRE_ACR", "must be on in production");
        }
        if self.require_acr && self.acr_values.trim().is_empty() {
            reader.problem("BANKID_ACR_VALUES", "is empty, but BANKID_REQUIRE_ACR asks for a level");
        }
        if !self.scope.split(' ').any(|scope| scope == "openid") {
            reader.problem("BANKID_SCOPE", "must contain openid");
        }
        if self.subject_claim.is_empty() {
            reader.problem("BANKID_CLAIM_SUBJECT", "is set but empty");
        }
    }
}
