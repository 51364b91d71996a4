//! What holds for every number.

use chrono::NaiveDate;
use drop_common::domain::national_id::{NationalId, NationalIdError};
use proptest::prelude::*;

use crate::{EVERYTHING, TENOR, day, production, with_control};

prop_compose! {
    /// Any number that is right by the strict rule, of every kind and century.
    fn valid()(days in 0..67_900_i64, d_number: bool, series in prop::sample::select(&[0_u32, 40, 65, 80]), seed in 0..1_000_u32)
        -> Option<(String, NaiveDate)> {
        use chrono::Datelike;
        let born = day("1854-01-01") + chrono::TimeDelta::days(days);
        let range = match born.year() {
            ..=1899 => 500..750,
            1900..=1939 => 0..500,
            1940..=1999 if seed % 2 == 0 => 0..500,
            1940..=1999 => 900..1000,
            2000.. => 500..1000,
        };
        let individual = range.start + seed % (range.end - range.start);
        let first = born.day() + if d_number { 40 } else { 0 };
        let nine = format!("{first:02}{:02}{:02}{individual:03}", born.month() + series, born.year() % 100);
        with_control(&nine).map(|number| (number, born))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_right_number_is_read_with_its_date(case in valid()) {
        if let Some((number, born)) = case {
            let id = NationalId::parse(&number, &EVERYTHING);
            prop_assert_eq!(id.map(|id| id.born()), Ok(Some(born)));
        }
    }

    #[test]
    fn every_single_digit_error_is_caught(case in valid(), at in 0..11_usize, by in 1..10_u8) {
        if let Some((number, _)) = case {
            let mut wrong = number.into_bytes();
            wrong[at] = b'0' + (wrong[at] - b'0' + by) % 10;
            let wrong = String::from_utf8(wrong).unwrap();
            for accepted in [EVERYTHING, TENOR, production()] {
                prop_assert_eq!(NationalId::parse(&wrong, &accepted), Err(NationalIdError::ControlDigits));
            }
        }
    }

    #[test]
    fn neighbours_swapped_are_caught(case in valid(), at in 0..10_usize) {
        if let Some((number, _)) = case {
            let mut wrong = number.clone().into_bytes();
            wrong.swap(at, at + 1);
            let wrong = String::from_utf8(wrong).unwrap();
            prop_assume!(wrong != number);
            prop_assert_eq!(NationalId::parse(&wrong, &TENOR), Err(NationalIdError::ControlDigits));
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,14}") {
        let _ = NationalId::parse(&text, &EVERYTHING);
    }
}
