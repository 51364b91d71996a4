//! People who can log in: synthetic numbers of the Tenor series, as the tax authority's test people have them.

use drop_sandbox::Person;

/// Born on one of 28 days of 12 months of 1970 and the years after it, so many as there are asked for.
pub(crate) fn people(count: usize) -> Vec<Person> {
    let days = (70..100).flat_map(|year| (1..=12).flat_map(move |month| (1..=28).map(move |day| (year, month, day))));
    days.filter_map(|(year, month, day)| number(year, month, day))
        .take(count)
        .enumerate()
        .map(|(at, national_id)| Person {
            key: format!("person-{at}"),
            national_id: Some(national_id),
            given_name: "Kari".into(),
            family_name: "Testperson".into(),
            birthdate: None,
            note: String::new(),
        })
        .collect()
}

/// The last individual number of the day that has control digits.
fn number(year: u32, month: u32, day: u32) -> Option<String> {
    const FIRST: [u32; 9] = [3, 7, 6, 1, 8, 9, 4, 5, 2];
    const SECOND: [u32; 10] = [5, 4, 3, 2, 7, 6, 5, 4, 3, 2];
    let mut text = format!("{day:02}{:02}{year:02}499", month + 80);
    for weights in [&FIRST[..], &SECOND[..]] {
        let sum: u32 = text
            .bytes()
            .zip(weights)
            .map(|(digit, weight)| u32::from(digit - b'0') * weight)
            .sum();
        let control = (11 - sum % 11) % 11;
        if control == 10 {
            return None;
        }
        text.push_str(&control.to_string());
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use drop_common::domain::national_id::{Accepted, NationalId, Synthetic};

    use super::people;

    #[test]
    fn the_numbers_are_valid_and_each_is_somebody_else() {
        let accepted = Accepted {
            synthetic: Synthetic {
                tenor: true,
                ..Synthetic::default()
            },
            ..Accepted::default()
        };
        let numbers: BTreeSet<_> = people(3_000)
            .into_iter()
            .filter_map(|person| person.national_id)
            .collect();
        assert_eq!(numbers.len(), 3_000);
        for number in numbers {
            assert!(NationalId::parse(&number, &accepted).is_ok(), "{number}");
        }
    }
}
