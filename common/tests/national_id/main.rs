//! National ids: the table of synthetic numbers, the refusals, and what must hold for every number.

#![cfg(test)]

mod listed;
mod properties;

use chrono::NaiveDate;
use drop_common::domain::national_id::{Accepted, NationalId, NationalIdError, Synthetic};
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

#[test]
fn a_help_number_counts_only_where_help_numbers_do() {
    let help = Accepted {
        help: true,
        ..production()
    };
    assert_eq!(
        NationalId::parse(listed::DOLLY, &help).unwrap().born(),
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
