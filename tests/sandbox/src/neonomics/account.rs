//! The person's accounts at the bank, and the money on them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::settings::BankSettings;
use crate::clock::iso_millis;

/// An account of the test person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// The IBAN, without spaces.
    pub iban: String,
    /// The BBAN; reported only when set.
    #[serde(default)]
    pub bban: Option<String>,
    /// Three capital letters.
    pub currency: String,
    /// The holder's name for it.
    pub name: String,
    /// The bank's name for its kind.
    pub product: String,
    /// What is on it, in hundredths of the currency.
    pub minor: i64,
}

impl Account {
    /// The account of the contract's examples: NOK 45,230.00.
    pub(super) fn of_the_contract() -> Self {
        Self {
            iban: "NO9386011117947".to_owned(),
            bban: Some("86011117947".to_owned()),
            currency: "NOK".to_owned(),
            name: "Brukskonto".to_owned(),
            product: "Brukskonto".to_owned(),
            minor: 4_523_000,
        }
    }

    /// The id within one consent. A new consent brings new ids, as the standard allows.
    pub(super) fn resource_id(&self, consent: &str) -> String {
        Uuid::new_v5(
            &Uuid::NAMESPACE_OID,
            format!("{consent}/{}/{}", self.iban, self.currency).as_bytes(),
        )
        .to_string()
    }

    pub(super) fn described(&self, consent: &str, settings: &BankSettings) -> Value {
        let mut account = json!({
            "resourceId": self.resource_id(consent),
            "iban": self.iban,
            "currency": self.currency,
            "name": self.name,
            "product": self.product,
            "cashAccountType": "CACC",
        });
        if let Some(bban) = &self.bban {
            account["bban"] = json!(bban);
        }
        for (member, value) in settings.described_otherwise.get(&self.iban).into_iter().flatten() {
            account[member] = value.clone();
        }
        if let Some(members) = account.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        account
    }

    pub(super) fn balances(&self, settings: &BankSettings, changed: DateTime<Utc>) -> Value {
        if let Some(answer) = &settings.balance_answer {
            return answer.clone();
        }
        let balance = |kind: &String| {
            json!({
                "balanceType": kind,
                "balanceAmount": { "currency": self.currency, "amount": decimal(self.minor) },
                "lastChangeDateTime": iso_millis(changed),
            })
        };
        json!({ "balances": settings.balance_types.iter().map(balance).collect::<Vec<_>>() })
    }
}

/// `-1.50`: hundredths as a decimal with two places.
pub(super) fn decimal(minor: i64) -> String {
    let sign = if minor < 0 { "-" } else { "" };
    let size = minor.unsigned_abs();
    format!("{sign}{}.{:02}", size / 100, size % 100)
}

/// Hundredths out of a decimal that matches the standard's pattern `^-?[0-9]{1,14}(\.[0-9]{1,3})?$`.
/// A third place other than zero is no amount of any currency used here.
pub(super) fn minor_units(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) if (1..=3).contains(&fraction.len()) => (whole, fraction),
        Some(_) => return None,
        None => (digits, ""),
    };
    let numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !(1..=14).contains(&whole.len()) || !numeric(whole) || !numeric(fraction) {
        return None;
    }
    let thousandths: i64 = format!("{fraction:0<3}").parse().ok()?;
    let whole: i64 = whole.parse().ok()?;
    (thousandths % 10 == 0).then_some(sign * (whole * 100 + thousandths / 10))
}

/// Whether the text is a well-formed IBAN whose check digits fit (ISO 13616, mod 97).
pub(super) fn is_iban(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shaped = (15..=34).contains(&bytes.len())
        && bytes[..2].iter().all(u8::is_ascii_uppercase)
        && bytes[2..4].iter().all(u8::is_ascii_digit)
        && bytes[4..]
            .iter()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    if !shaped {
        return false;
    }
    let moved = bytes[4..].iter().chain(&bytes[..4]);
    let remainder = moved.fold(0_u32, |remainder, &byte| match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        _ => (remainder * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    remainder == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_by_the_standards_pattern_and_nothing_else() {
        for (text, minor) in [
            ("2010.00", 201_000),
            ("0.01", 1),
            ("-1.5", -150),
            ("7", 700),
            ("1.000", 100),
        ] {
            assert_eq!(minor_units(text), Some(minor), "{text}");
        }
        for text in [
            "10,50",
            "1 000.00",
            "1e3",
            "+1",
            ".5",
            "5.",
            "",
            "NaN",
            "1.005",
            "123456789012345",
            "٣",
        ] {
            assert_eq!(minor_units(text), None, "{text}");
        }
        assert_eq!(decimal(-150), "-1.50");
    }

    #[test]
    fn an_iban_with_two_digits_swapped_is_refused() {
        assert!(is_iban("NO9386011117947"));
        assert!(!is_iban("NO9386011117974"));
        assert!(!is_iban("NO93-8601-1117947"));
    }
}
