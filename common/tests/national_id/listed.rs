//! The table of synthetic numbers: what each tells, and that no slip of one is taken.

use drop_common::domain::national_id::{Accepted, NationalId, NationalIdError, Synthetic};

use crate::{EVERYTHING, TENOR, day, production};

/// The listed Tenor numbers and their dates.
const LISTED: [(&str, &str); 16] = [
    ("13897249477", "1972-09-13"),
    ("17829049236", "1990-02-17"),
    ("29829249721", "1992-02-29"),
    ("29820099840", "2000-02-29"),
    ("31920499336", "2004-12-31"),
    ("29820899979", "2008-02-29"),
    ("23912649903", "1926-11-23"),
    ("02812699817", "2026-01-02"),
    ("01861299917", "2012-06-01"),
    ("31929974967", "1899-12-31"),
    ("05855599939", "1955-05-05"),
    ("41818549987", "1985-01-01"),
    ("55831099916", "2010-03-15"),
    ("22910899973", "2008-11-22"),
    ("23910899902", "2008-11-23"),
    ("24910899941", "2008-11-24"),
];
pub(crate) const DOLLY: &str = "15507649979";
const SYNT_POP: &str = "07728149986";
const OF_2032: [&str; 3] = ["17853389935", "17853389943", "17853389951"];

/// Every listed number, of every kind.
fn listed() -> impl Iterator<Item = &'static str> {
    let tenor = LISTED.into_iter().map(|(number, _)| number);
    tenor.chain([DOLLY, SYNT_POP]).chain(OF_2032)
}

#[test]
fn a_tenor_number_tells_its_date_where_accepted_and_is_refused_in_production() {
    for (number, born) in LISTED {
        assert_eq!(
            NationalId::parse(number, &TENOR).unwrap().born(),
            Some(day(born)),
            "{number}"
        );
        assert_eq!(
            NationalId::parse(number, &production()),
            Err(NationalIdError::Synthetic),
            "{number}"
        );
    }
}

#[test]
fn no_single_wrong_digit_of_a_listed_number_is_overlooked() {
    let mut tried = 0;
    for number in listed() {
        for at in 0..number.len() {
            for digit in b'0'..=b'9' {
                let mut wrong = number.as_bytes().to_vec();
                wrong[at] = digit;
                let wrong = String::from_utf8(wrong).unwrap();
                if wrong == number {
                    continue;
                }
                tried += 1;
                for accepted in [EVERYTHING, TENOR, production()] {
                    assert_eq!(
                        NationalId::parse(&wrong, &accepted),
                        Err(NationalIdError::ControlDigits),
                        "{number} as {wrong}"
                    );
                }
            }
        }
    }
    assert_eq!(tried, listed().count() * 11 * 9);
}

#[test]
fn no_two_neighbours_of_a_listed_number_change_places_unseen() {
    for number in listed() {
        for at in 0..10 {
            let mut wrong = number.as_bytes().to_vec();
            wrong.swap(at, at + 1);
            let swapped = String::from_utf8(wrong).unwrap();
            let read = NationalId::parse(&swapped, &EVERYTHING);
            if swapped == number {
                assert!(read.is_ok(), "{number}: the two are equal");
            } else {
                assert_eq!(read, Err(NationalIdError::ControlDigits), "{number} as {swapped}");
            }
        }
    }
}

#[test]
fn dolly_and_synt_pop_numbers_count_only_where_their_series_is_configured() {
    let dolly = Accepted {
        synthetic: Synthetic {
            dolly: true,
            ..Synthetic::default()
        },
        ..production()
    };
    let synt_pop = Accepted {
        synthetic: Synthetic {
            synt_pop: true,
            ..Synthetic::default()
        },
        ..production()
    };
    assert_eq!(
        NationalId::parse(DOLLY, &dolly).unwrap().born(),
        Some(day("1976-10-15"))
    );
    assert_eq!(NationalId::parse(DOLLY, &synt_pop), Err(NationalIdError::Help));
    assert_eq!(
        NationalId::parse(SYNT_POP, &synt_pop).unwrap().born(),
        Some(day("1981-07-07"))
    );
    assert_eq!(NationalId::parse(SYNT_POP, &dolly), Err(NationalIdError::Synthetic));
    for number in [DOLLY, SYNT_POP] {
        assert!(NationalId::parse(number, &TENOR).is_err());
        assert!(NationalId::parse(number, &production()).is_err());
    }
}

#[test]
fn a_number_of_2032_passes_only_the_relaxed_rule_and_tells_no_date() {
    let relaxed = |accepted| Accepted {
        relaxed_2032: true,
        ..accepted
    };
    for number in OF_2032 {
        assert_eq!(NationalId::parse(number, &TENOR), Err(NationalIdError::ControlDigits));
        assert_eq!(NationalId::parse(number, &relaxed(TENOR)).unwrap().born(), None);
        // The relaxed control does not open the synthetic series.
        assert_eq!(
            NationalId::parse(number, &relaxed(production())),
            Err(NationalIdError::Synthetic)
        );
    }
}

#[test]
fn the_relaxed_rule_leaves_old_numbers_their_date() {
    let relaxed = Accepted {
        relaxed_2032: true,
        ..TENOR
    };
    for (number, born) in LISTED {
        assert_eq!(
            NationalId::parse(number, &relaxed).unwrap().born(),
            Some(day(born)),
            "{number}"
        );
    }
}
