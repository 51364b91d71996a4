//! Account numbers as they are paid to and from: IBAN (ISO 13616), Norwegian and foreign BBAN.

use std::fmt;

use iban::{Iban, IbanLike, ParseIbanError};

use super::words::closed_words;

closed_words! {
    /// The member of the JSON body that carries an account number.
    Scheme, "account scheme";
    /// An international account number.
    Iban = "iban",
    /// A national account number.
    Bban = "bban",
}

/// What kind of number an account has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountKind {
    /// An IBAN of any country.
    Iban,
    /// Eleven digits with the Norwegian check digit.
    NorwegianBban,
    /// A national number of another country, which no rule here can check.
    ForeignBban,
}

/// A checked account number. Two are equal when they mean the same account, however they were written. The value is
/// read by the `…_secret` functions only: there is no `Display`, and `Debug` shows the kind.
#[derive(Clone)]
pub struct AccountNumber {
    kind: AccountKind,
    canonical: String,
    /// What the bank gets, where that is not the canonical form.
    wire: Option<String>,
}

impl AccountNumber {
    /// Reads a number that came under the name of its scheme.
    pub fn parse(scheme: Scheme, text: &str) -> Result<Self, AccountNumberError> {
        match scheme {
            Scheme::Iban => Self::iban(text),
            Scheme::Bban => Self::bban(text),
        }
    }

    /// Reads an IBAN: spaces go, letters become capitals; then country, length, check digits 02 to 98 and mod 97 must
    /// be right. Mod 97 does not prove a Norwegian account's own check digit, so that is checked as well.
    pub fn iban(text: &str) -> Result<Self, AccountNumberError> {
        let canonical: String = text
            .chars()
            .filter(|c| *c != ' ')
            .map(|c| c.to_ascii_uppercase())
            .collect();
        if !canonical
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
        {
            return Err(AccountNumberError::Malformed);
        }
        let parsed: Iban = canonical.parse().map_err(|error| match error {
            ParseIbanError::InvalidBaseIban {
                source: iban::ParseBaseIbanError::InvalidChecksum,
            } => AccountNumberError::CheckDigits,
            ParseIbanError::InvalidBaseIban { .. } | ParseIbanError::InvalidBban(_) => AccountNumberError::Malformed,
            ParseIbanError::UnknownCountry(_) => AccountNumberError::UnknownCountry,
        })?;
        // 00, 01 and 99 are congruent to 97, 98 and 02, but no bank gives them out.
        if !(2..=98).contains(&parsed.check_digits()) {
            return Err(AccountNumberError::CheckDigits);
        }
        if parsed.country_code() == NORWAY && !mod_11_holds(parsed.bban_unchecked()) {
            return Err(AccountNumberError::CheckDigits);
        }
        Ok(Self {
            kind: AccountKind::Iban,
            canonical,
            wire: None,
        })
    }

    /// Reads a BBAN. Eleven digits, apart from spaces and dots, are a Norwegian account and must have its check digit.
    /// Anything else is foreign: letters, digits and dashes, at most 30 without the dashes.
    pub fn bban(text: &str) -> Result<Self, AccountNumberError> {
        let bare: String = text.chars().filter(|c| !matches!(c, ' ' | '.')).collect();
        if bare.len() == 11 && bare.bytes().all(|byte| byte.is_ascii_digit()) {
            if !mod_11_holds(&bare) {
                return Err(AccountNumberError::CheckDigits);
            }
            return Ok(Self {
                kind: AccountKind::NorwegianBban,
                canonical: norwegian_iban(&bare),
                wire: Some(bare),
            });
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(AccountNumberError::Malformed);
        }
        let stripped: String = text.chars().filter(|c| *c != '-').collect();
        // One dash between any two characters is the most that means anything.
        if !(1..=30).contains(&stripped.len()) || text.len() >= 2 * stripped.len() {
            return Err(AccountNumberError::Malformed);
        }
        let wire = (text.len() != stripped.len()).then(|| text.to_owned());
        Ok(Self {
            kind: AccountKind::ForeignBban,
            canonical: stripped,
            wire,
        })
    }

    /// What kind of number this is.
    pub const fn kind(&self) -> AccountKind {
        self.kind
    }

    /// Where the account is (ISO 3166), if its number tells.
    pub fn country(&self) -> Option<&str> {
        match self.kind {
            AccountKind::Iban | AccountKind::NorwegianBban => self.canonical.get(..2),
            AccountKind::ForeignBban => None,
        }
    }

    /// The name under which the number travels. `parse(scheme(), wire_secret())` gives the number back.
    pub const fn scheme(&self) -> Scheme {
        match self.kind {
            AccountKind::Iban => Scheme::Iban,
            AccountKind::NorwegianBban | AccountKind::ForeignBban => Scheme::Bban,
        }
    }

    /// The one spelling of the account: its IBAN where there is one, else the foreign number without separators. For
    /// comparison, look-up and the fingerprint.
    pub fn canonical_secret(&self) -> &str {
        &self.canonical
    }

    /// What goes to the bank: the IBAN, the eleven digits, or the foreign number with its dashes as they were given.
    pub fn wire_secret(&self) -> &str {
        self.wire.as_deref().unwrap_or(&self.canonical)
    }

    /// The form for the person's own eyes: the first four and the last three characters, for example
    /// `NO93********947`. A short foreign number keeps the last three at most.
    pub fn masked(&self) -> String {
        let length = self.canonical.len();
        let head = if length > 10 { 4 } else { 0 };
        let tail = if length > 6 { 3 } else { 0 };
        // The canonical form is ASCII, so every index is a character's.
        format!(
            "{}{}{}",
            &self.canonical[..head],
            "*".repeat(length - head - tail),
            &self.canonical[length - tail..]
        )
    }
}

impl PartialEq for AccountNumber {
    fn eq(&self, other: &Self) -> bool {
        // A foreign number may by chance read like an IBAN; it is another account all the same.
        (self.kind == AccountKind::ForeignBban) == (other.kind == AccountKind::ForeignBban)
            && self.canonical == other.canonical
    }
}

impl Eq for AccountNumber {}

impl fmt::Debug for AccountNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountNumber({:?}, hidden)", self.kind)
    }
}

/// Why a text is not an account number. No variant carries the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountNumberError {
    /// Characters or a length that no such number has.
    #[error("the account number has the wrong form")]
    Malformed,
    /// The IBAN's country is not in the registry.
    #[error("the account number's country is unknown")]
    UnknownCountry,
    /// Mod 97 or mod 11 does not hold: mistyped.
    #[error("the account number's check digits are wrong")]
    CheckDigits,
}

const NORWAY: &str = "NO";

/// Plain mod 11 for every account, also where digits 5 and 6 are zeros.
fn mod_11_holds(eleven: &str) -> bool {
    const WEIGHTS: [u32; 11] = [5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1];
    eleven
        .bytes()
        .zip(WEIGHTS)
        .map(|(byte, weight)| u32::from(byte - b'0') * weight)
        .sum::<u32>()
        % 11
        == 0
}

fn norwegian_iban(eleven: &str) -> String {
    // `NO00` moved to the end, letters as numbers: N = 23, O = 24.
    let remainder = eleven
        .bytes()
        .chain(*b"232400")
        .fold(0, |rest, byte| (rest * 10 + u32::from(byte - b'0')) % 97);
    format!("{NORWAY}{:02}{eleven}", 98 - remainder)
}
