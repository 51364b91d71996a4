use std::fmt;

use chrono::NaiveDate;
use secrecy::SecretString;
use serde_json::Value;

use super::{LoginRefused, id_token::Payload};
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

    /// The `birthdate` claim, where it tells the year.
    pub fn birthdate(&self) -> Option<NaiveDate> {
        self.birthdate
    }

    /// From the payload of a token whose signature and claims were checked.
    pub(super) fn read(payload: &Payload, config: &BankIdConfig) -> Result<Self, LoginRefused> {
        let subject = payload
            .text(&config.subject_claim)
            .filter(|subject| (1..=255).contains(&subject.len()))
            .ok_or(LoginRefused::IdentityClaim)?;
        Ok(Self {
            subject: subject.to_owned(),
            national_id: national_id(payload, &config.national_id_claims)?,
            name: PersonName::from_claims(
                payload.text("given_name"),
                payload.text("family_name"),
                payload.text("name"),
            ),
            birthdate: birthdate(payload)?,
        })
    }
}

impl fmt::Debug for VerifiedClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifiedClaims(redacted)")
    }
}

fn national_id(payload: &Payload, names: &[String]) -> Result<Option<SecretString>, LoginRefused> {
    let mut found: Option<&str> = None;
    for value in names.iter().filter_map(|name| payload.get(name)) {
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

/// A date that cannot be read must not turn into "no date": the younger of two sources decides the age.
fn birthdate(payload: &Payload) -> Result<Option<NaiveDate>, LoginRefused> {
    match payload.get("birthdate") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => age::parse_birthdate(text).map_err(|InvalidBirthdate| LoginRefused::IdentityClaim),
        Some(_) => Err(LoginRefused::IdentityClaim),
    }
}
