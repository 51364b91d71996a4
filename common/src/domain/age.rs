//! Whether a person is 18: the law asks for it (contract 3.1).

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use chrono_tz::Europe::Oslo;

/// What the sources say about a person's age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgeCheck {
    /// 18 or more.
    Adult,
    /// Under 18: the login is refused.
    Underage,
    /// No source tells the age: the login is refused too.
    Unverified,
}

/// The verdict, and whether the sources contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgeDecision {
    /// The verdict.
    pub check: AgeCheck,
    /// Claim and number name different dates: the younger has decided, and operations want to know.
    pub disagree: bool,
}

/// Decides from the `birthdate` claim and the date in the national id, where there are any.
pub fn decide(birthdate: Option<NaiveDate>, number_born: Option<NaiveDate>, today: NaiveDate) -> AgeDecision {
    // The later date is the younger person: an error in one source must not let a minor in.
    let check = match birthdate.max(number_born) {
        Some(born) if is_adult(born, today) => AgeCheck::Adult,
        Some(_) => AgeCheck::Underage,
        None => AgeCheck::Unverified,
    };
    let disagree = birthdate
        .zip(number_born)
        .is_some_and(|(claim, number)| claim != number);
    AgeDecision { check, disagree }
}

/// Adult from the 18th birthday itself; a person born on 29 February from 1 March in a year without one.
pub fn is_adult(born: NaiveDate, today: NaiveDate) -> bool {
    (today.year(), today.month(), today.day()) >= (born.year() + 18, born.month(), born.day())
}

/// The calendar date in Norway. The UTC date is yesterday's for one or two hours each night.
pub fn today_in_oslo(now: DateTime<Utc>) -> NaiveDate {
    now.with_timezone(&Oslo).date_naive()
}

/// Reads the `birthdate` claim: `YYYY-MM-DD`, four, two and two ASCII digits. None where the year is 0000: it is kept back
/// then (`OpenID` Connect Core 5.1), and a day without its year proves no age.
pub fn parse_birthdate(claim: &str) -> Result<Option<NaiveDate>, InvalidBirthdate> {
    let shape = claim.len() == 10
        && claim.bytes().enumerate().all(|(at, byte)| {
            if matches!(at, 4 | 7) {
                byte == b'-'
            } else {
                byte.is_ascii_digit()
            }
        });
    // Chrono alone would also take signs and single digits.
    if !shape {
        return Err(InvalidBirthdate);
    }
    let born: NaiveDate = claim.parse().map_err(|_| InvalidBirthdate)?;
    Ok((born.year() != 0).then_some(born))
}

/// The claim is not a calendar date. The text is left out: it is personal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the birthdate claim is not a date")]
pub struct InvalidBirthdate;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[rstest]
    #[case("2008-11-22", "2026-11-23", true)]
    #[case("2008-11-23", "2026-11-23", true)]
    #[case("2008-11-24", "2026-11-23", false)]
    #[case("2008-02-29", "2026-02-28", false)]
    #[case("2008-02-29", "2026-03-01", true)]
    #[case("2010-02-28", "2028-02-28", true)]
    #[case("2010-03-01", "2028-02-29", false)]
    #[case("1926-11-23", "2026-11-23", true)]
    #[case("2026-01-02", "2026-11-23", false)]
    #[case("2030-01-01", "2026-11-23", false)]
    fn adult_from_the_eighteenth_birthday(#[case] born: &str, #[case] today: &str, #[case] adult: bool) {
        assert_eq!(is_adult(day(born), day(today)), adult);
    }

    #[rstest]
    #[case("2026-01-01T22:59:59Z", "2026-01-01")]
    #[case("2026-01-01T23:00:00Z", "2026-01-02")]
    #[case("2026-07-01T21:59:59Z", "2026-07-01")]
    #[case("2026-07-01T22:00:00Z", "2026-07-02")]
    fn the_day_turns_at_midnight_in_oslo(#[case] now: &str, #[case] today: &str) {
        assert_eq!(today_in_oslo(now.parse().unwrap()), day(today));
    }

    const ADULT: &str = "1990-02-17";
    const MINOR: &str = "2012-06-01";

    #[rstest]
    #[case(Some(ADULT), Some(ADULT), AgeCheck::Adult, false)]
    #[case(Some(ADULT), None, AgeCheck::Adult, false)]
    #[case(None, Some(ADULT), AgeCheck::Adult, false)]
    #[case(None, Some(MINOR), AgeCheck::Underage, false)]
    #[case(Some(MINOR), None, AgeCheck::Underage, false)]
    #[case(Some(MINOR), Some(ADULT), AgeCheck::Underage, true)]
    #[case(Some(ADULT), Some(MINOR), AgeCheck::Underage, true)]
    #[case(Some("1990-02-18"), Some(ADULT), AgeCheck::Adult, true)]
    #[case(None, None, AgeCheck::Unverified, false)]
    fn the_younger_source_decides(
        #[case] claim: Option<&str>,
        #[case] number: Option<&str>,
        #[case] check: AgeCheck,
        #[case] disagree: bool,
    ) {
        let decision = decide(claim.map(day), number.map(day), day("2026-11-23"));
        assert_eq!(decision, AgeDecision { check, disagree });
    }

    #[test]
    fn a_birthdate_is_read_in_its_one_form() {
        assert_eq!(parse_birthdate("1992-02-29"), Ok(Some(day("1992-02-29"))));
        assert_eq!(parse_birthdate("0000-02-29"), Ok(None));
        for text in [
            "",
            "1992",
            "1991-02-29",
            "1992-2-29",
            "+992-02-29",
            "1992/02/29",
            "1992-02-29 ",
            "19920229",
            "1992-13-01",
            "0000-00-00",
        ] {
            assert_eq!(parse_birthdate(text), Err(InvalidBirthdate), "{text}");
        }
    }
}
