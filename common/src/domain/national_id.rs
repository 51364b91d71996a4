//! The Norwegian national identity number: `DDMMYY III KK`, with the markings for D-numbers, help numbers and the
//! synthetic series, and the control digits (modulus 11).

use std::fmt;

use chrono::NaiveDate;
use secrecy::zeroize::Zeroize;

/// Which numbers beside fødselsnummer and D-numbers count. The default is what production takes: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The synthetic series; never together with the production issuer.
    pub synthetic: Synthetic,
    /// H-numbers (month + 40) and other help numbers (first digit 8 or 9); never in production.
    pub help: bool,
    /// The control rule for numbers issued from 1 January 2032: the first sum may leave 0, 1, 2 or 3.
    pub relaxed_2032: bool,
}

/// The synthetic series, each told by what is added to the month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Synthetic {
    /// Tenor (Skatteetaten), month + 80.
    pub tenor: bool,
    /// Dolly (NAV), month + 40.
    pub dolly: bool,
    /// `SyntPop` (the health sector), month + 65.
    pub synt_pop: bool,
}

/// A number whose control digits, date and kind have been checked. It has no `Display`, its `Debug` hides it, and its
/// memory is overwritten on drop.
#[derive(PartialEq, Eq)]
pub struct NationalId {
    digits: [u8; 11],
    born: Option<NaiveDate>,
}

impl NationalId {
    /// Reads exactly 11 ASCII digits.
    pub fn parse(text: &str, accepted: &Accepted) -> Result<Self, NationalIdError> {
        let mut digits: [u8; 11] = text.as_bytes().try_into().map_err(|_| NationalIdError::Malformed)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(NationalIdError::Malformed);
        }
        let checked = check(&digits.map(|digit| digit - b'0'), *accepted);
        let parsed = checked.map(|born| Self { digits, born });
        digits.zeroize();
        parsed
    }

    /// The date of birth as far as the number tells it. `None` for a help number without a date and for a number that
    /// passes only the rule of 2032, whose century cannot be derived. A D-number's date may be that of its order.
    pub fn born(&self) -> Option<NaiveDate> {
        self.born
    }

    /// The digits, for hashing and for nothing else.
    pub(super) fn digits_secret(&self) -> &[u8; 11] {
        &self.digits
    }
}

impl fmt::Debug for NationalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NationalId(hidden)")
    }
}

impl Drop for NationalId {
    fn drop(&mut self) {
        self.digits.zeroize();
    }
}

/// Why a text is not a number that we take. No variant carries the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NationalIdError {
    /// Not 11 ASCII digits.
    #[error("not 11 digits")]
    Malformed,
    /// A control digit is wrong.
    #[error("a control digit is wrong")]
    ControlDigits,
    /// No such day, or an individual number that fits no century.
    #[error("the number holds no possible date")]
    Date,
    /// A synthetic series that is not configured here.
    #[error("synthetic numbers of this series are not accepted here")]
    Synthetic,
    /// A help number where none is accepted.
    #[error("help numbers are not accepted here")]
    Help,
}

/// How far a number's first control digit is in order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Control {
    /// By the rule in force since 1964: the century can be derived.
    Strict,
    /// Only by the rule of 2032.
    Relaxed,
}

fn check(digits: &[u8; 11], accepted: Accepted) -> Result<Option<NaiveDate>, NationalIdError> {
    let control = control(digits, accepted.relaxed_2032)?;
    if digits[0] >= 8 {
        // A help number of this kind has no date of birth in it.
        return if accepted.help {
            Ok(None)
        } else {
            Err(NationalIdError::Help)
        };
    }
    let day = match two(digits, 0) {
        day @ 41..=71 => day - 40,
        day => day,
    };
    let month = match two(digits, 2) {
        month @ 41..=52 if accepted.help || accepted.synthetic.dolly => month - 40,
        41..=52 => return Err(NationalIdError::Help),
        month @ 66..=77 if accepted.synthetic.synt_pop => month - 65,
        month @ 81..=92 if accepted.synthetic.tenor => month - 80,
        66..=77 | 81..=92 => return Err(NationalIdError::Synthetic),
        month => month,
    };
    let year = two(digits, 4);
    let individual = u32::from(digits[6]) * 100 + two(digits, 7);
    let born = century(individual, year).and_then(|century| date(century + year, month, day));
    match (control, born) {
        (Control::Strict, Some(born)) => Ok(Some(born)),
        // From 2032 the individual number says nothing of the century, so any one that has the day will do. The years
        // from 2000 have every day that those from 1900 have.
        _ if accepted.relaxed_2032 && date(2000 + year, month, day).is_some() => Ok(None),
        _ => Err(NationalIdError::Date),
    }
}

fn control(digits: &[u8; 11], relaxed_2032: bool) -> Result<Control, NationalIdError> {
    const FIRST: [u32; 10] = [3, 7, 6, 1, 8, 9, 4, 5, 2, 1];
    const SECOND: [u32; 11] = [5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1];
    match (remainder(digits, &FIRST), remainder(digits, &SECOND)) {
        (0, 0) => Ok(Control::Strict),
        (1..=3, 0) if relaxed_2032 => Ok(Control::Relaxed),
        _ => Err(NationalIdError::ControlDigits),
    }
}

fn remainder(digits: &[u8; 11], weights: &[u32]) -> u32 {
    digits
        .iter()
        .zip(weights)
        .map(|(digit, weight)| u32::from(*digit) * weight)
        .sum::<u32>()
        % 11
}

fn two(digits: &[u8; 11], at: usize) -> u32 {
    u32::from(digits[at]) * 10 + u32::from(digits[at + 1])
}

fn century(individual: u32, year: u32) -> Option<u32> {
    match (individual, year) {
        (0..=499, _) | (900..=999, 40..) => Some(1900),
        (500..=749, 54..) => Some(1800),
        (500..=999, ..=39) => Some(2000),
        _ => None,
    }
}

fn date(year: u32, month: u32, day: u32) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)
}
