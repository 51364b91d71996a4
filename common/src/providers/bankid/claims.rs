use std::{collections::HashMap, fmt};

use chrono::NaiveDate;
use openidconnect::{AdditionalClaims, IdTokenClaims, core::CoreGenderClaim};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::LoginRefused;
use crate::{
    config::BankIdConfig,
    domain::{
        age::{self, InvalidBirthdate},
        user::PersonName,
    },
};

/// Who logged in. Made only by `BankId::verify`, so whoever holds one holds a checked token's claims.
pub struct VerifiedClaims {
    subject: String,
    national_id: Option<SecretString>,
    name: PersonName,
    birthdate: Option<NaiveDate>,
}

impl VerifiedClaims {
    /// BankID's identifier of the person, from the configured claim.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Eleven ASCII digits. Control digits, kind and age are the domain's to check.
    pub fn national_id(&self) -> Option<&SecretString> {
        self.national_id.as_ref()
    }

    /// Plain text of a bounded length; either part may be empty.
    pub fn name(&self) -> &PersonName {
        &self.name
    }

    /// The `birthdate` claim.
    pub fn birthdate(&self) -> Option<NaiveDate> {
        self.birthdate
    }

    pub(super) fn read(claims: &Claims, config: &BankIdConfig) -> Result<Self, LoginRefused> {
        let extra = &claims.additional_claims().0;
        let subject = match config.subject_claim.as_str() {
            "sub" => claims.subject().as_str().to_owned(),
            name => extra
                .get(name)
                .and_then(Value::as_str)
                .filter(|subject| (1..=255).contains(&subject.len()))
                .ok_or(LoginRefused::IdentityClaim)?
                .to_owned(),
        };
        let given = claims.given_name().and_then(|name| name.get(None));
        let family = claims.family_name().and_then(|name| name.get(None));
        let full = claims.name().and_then(|name| name.get(None));
        // A date we cannot read must not turn into "no date": the younger of two sources decides the age.
        let birthdate = claims.birthdate().map(|text| age::parse_birthdate(text)).transpose();
        Ok(Self {
            subject,
            national_id: national_id(extra, &config.national_id_claims)?,
            name: PersonName::from_claims(
                given.map(|name| name.as_str()),
                family.map(|name| name.as_str()),
                full.map(|name| name.as_str()),
            ),
            birthdate: birthdate.map_err(|InvalidBirthdate| LoginRefused::IdentityClaim)?,
        })
    }
}

impl fmt::Debug for VerifiedClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifiedClaims(redacted)")
    }
}

/// The claims of an ID token as the crate reads them.
pub(super) type Claims = IdTokenClaims<Extra, CoreGenderClaim>;

/// Claims beyond the standard ones, by name.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct Extra(pub(super) HashMap<String, Value>);

impl AdditionalClaims for Extra {}

/// The national id is among them.
impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Extra(redacted)")
    }
}

fn national_id(extra: &HashMap<String, Value>, names: &[String]) -> Result<Option<SecretString>, LoginRefused> {
    let mut found: Option<&str> = None;
    for value in names.iter().filter_map(|name| extra.get(name)) {
        let text = value.as_str().ok_or(LoginRefused::IdentityClaim)?;
        let digits = text.len() == 11 && text.bytes().all(|byte| byte.is_ascii_digit());
        // Two claims about one person must agree, else we would pick who logs in.
        if !digits || found.is_some_and(|other| other != text) {
            return Err(LoginRefused::IdentityClaim);
        }
        found = Some(text);
    }
    Ok(found.map(SecretString::from))
}
