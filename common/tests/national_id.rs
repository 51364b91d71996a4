//! National ids: the table of synthetic numbers, the refusals, and what must hold for every number.

#![cfg(test)]

use chrono::NaiveDate;
use drop_common::domain::national_id::{Accepted, NationalId, NationalIdError, Synthetic};
use proptest::prelude::*;
use rstest::rstest;

const TENOR: Accepted = Accepted {
    synthetic: Synthetic {
        tenor: true,
        dolly: false,
        synt_pop: false,
    },
    help: false,
    relaxed_2032: false,
};
const EVERYTHING: Accepted = Accepted {
    synthetic: Synthetic {
        tenor: true,
        dolly: true,
        synt_pop: true,
    },
    help: true,
    relaxed_2032: true,
};

fn production() -> Accepted {
    Accepted::default()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// The two control digits for nine digits, by the strict rule; `None` where one would be 10.
fn with_control(nine: &str) -> Option<String> {
    let sum =
        |text: &str, weights: &[u32]| -> u32 { text.bytes().zip(weights).map(|(b, w)| u32::from(b - b'0') * w).sum() };
    let first = (11 - sum(nine, &[3, 7, 6, 1, 8, 9, 4, 5, 2]) % 11) % 11;
    let ten = format!("{nine}{first}");
    let second = (11 - sum(&ten, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 11;
    (first < 10 && second < 10).then(|| format!("{ten}{second}"))
}

#[rstest]
#[case("13897249477", "1972-09-13")]
#[case("17829049236", "1990-02-17")]
#[case("29829249721", "1992-02-29")]
#[case("29820099840", "2000-02-29")]
#[case("31920499336", "2004-12-31")]
#[case("29820899979", "2008-02-29")]
#[case("23912649903", "1926-11-23")]
#[case("02812699817", "2026-01-02")]
#[case("01861299917", "2012-06-01")]
#[case("31929974967", "1899-12-31")]
#[case("05855599939", "1955-05-05")]
#[case("41818549987", "1985-01-01")]
#[case("55831099916", "2010-03-15")]
#[case("22910899973", "2008-11-22")]
#[case("23910899902", "2008-11-23")]
#[case("24910899941", "2008-11-24")]
fn a_tenor_number_tells_its_date_where_accepted_and_is_refused_in_production(#[case] number: &str, #[case] born: &str) {
    assert_eq!(NationalId::parse(number, &TENOR).unwrap().born(), Some(day(born)));
    assert_eq!(
        NationalId::parse(number, &production()),
        Err(NationalIdError::Synthetic)
    );
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
        NationalId::parse("15507649979", &dolly).unwrap().born(),
        Some(day("1976-10-15"))
    );
    assert_eq!(NationalId::parse("15507649979", &synt_pop), Err(NationalIdError::Help));
    assert_eq!(
        NationalId::parse("07728149986", &synt_pop).unwrap().born(),
        Some(day("1981-07-07"))
    );
    assert_eq!(
        NationalId::parse("07728149986", &dolly),
        Err(NationalIdError::Synthetic)
    );
    for number in ["15507649979", "07728149986"] {
        assert!(NationalId::parse(number, &TENOR).is_err());
        assert!(NationalId::parse(number, &production()).is_err());
    }
}

#[rstest]
fn a_number_of_2032_passes_only_the_relaxed_rule_and_tells_no_date(
    #[values("17853389935", "17853389943", "17853389951")] number: &str,
) {
    assert_eq!(NationalId::parse(number, &TENOR), Err(NationalIdError::ControlDigits));
    let relaxed = Accepted {
        relaxed_2032: true,
        ..TENOR
    };
    assert_eq!(NationalId::parse(number, &relaxed).unwrap().born(), None);
    // The relaxed control does not open the synthetic series.
    assert_eq!(
        NationalId::parse(
            number,
            &Accepted {
                relaxed_2032: true,
                ..production()
            }
        ),
        Err(NationalIdError::Synthetic)
    );
}

#[test]
fn the_relaxed_rule_leaves_old_numbers_their_date() {
    let relaxed = Accepted {
        relaxed_2032: true,
        ..TENOR
    };
    assert_eq!(
        NationalId::parse("13897249477", &relaxed).unwrap().born(),
        Some(day("1972-09-13"))
    );
}

#[test]
fn a_help_number_counts_only_where_help_numbers_do() {
    let help = Accepted {
        help: true,
        ..production()
    };
    assert_eq!(
        NationalId::parse("15507649979", &help).unwrap().born(),
        Some(day("1976-10-15"))
    );
    let dateless = (0..500).find_map(|i| with_control(&format!("811376{i:03}"))).unwrap();
    assert_eq!(NationalId::parse(&dateless, &help).unwrap().born(), None);
    assert_eq!(NationalId::parse(&dateless, &production()), Err(NationalIdError::Help));
}

#[rstest]
fn anything_but_eleven_ascii_digits_is_refused(
    #[values(
        "",
        "1389724947",
        "138972494770",
        "1389724947a",
        "+1389724947",
        " 1389724947",
        "13897249477 ",
        " 13897249477",
        "138972 49477",
        "138972-49477",
        "\u{661}389724947",
        "\u{ff11}3897249477",
        "\u{661}\u{661}\u{661}\u{661}\u{661}7"
    )]
    text: &str,
) {
    assert_eq!(NationalId::parse(text, &EVERYTHING), Err(NationalIdError::Malformed));
}

#[rstest]
#[case::april_31("3184")]
#[case::month_00("0100")]
#[case::month_13("0113")]
#[case::month_93("0193")]
#[case::month_53("0153")]
#[case::month_65("0165")]
#[case::day_00("0081")]
#[case::day_40("4081")]
#[case::day_72("7281")]
#[case::day_32("3281")]
fn a_day_that_no_year_has_is_refused_though_the_control_digits_are_right(#[case] day_and_month: &str) {
    let number = (0..500)
        .find_map(|i| with_control(&format!("{day_and_month}72{i:03}")))
        .unwrap();
    assert_eq!(NationalId::parse(&number, &EVERYTHING), Err(NationalIdError::Date));
}

#[rstest]
#[case::february_1900("298200", 0..500)]
#[case::february_2001("298201", 500..1000)]
#[case::individual_500_to_749_before_1854("018150", 500..750)]
#[case::individual_750_to_899_after_2039("018160", 750..900)]
fn a_date_outside_its_century_is_refused(#[case] date: &str, #[case] individual: std::ops::Range<u32>) {
    for number in individual.filter_map(|i| with_control(&format!("{date}{i:03}"))) {
        assert_eq!(NationalId::parse(&number, &TENOR), Err(NationalIdError::Date));
    }
}

#[test]
fn debug_shows_nothing_of_the_number() {
    let id = NationalId::parse("13897249477", &TENOR).unwrap();
    assert_eq!(format!("{id:?}"), "NationalId(hidden)");
}

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
