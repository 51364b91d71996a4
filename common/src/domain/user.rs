//! The person's name as `BankID` gives it. A missing or hostile name never fails a login.

use std::fmt;

/// The most characters that are kept of a first or a last name.
pub const MAX_NAME_CHARS: usize = 100;

/// First and last name as plain text; either may be empty. `Debug` hides both.
#[derive(Clone, PartialEq, Eq)]
pub struct PersonName {
    first: String,
    last: String,
}

impl PersonName {
    /// Takes `given_name` and `family_name` where they hold something, and else splits `name`: the last word is the last
    /// name. A name of one word is taken as a first name, so that there is something to greet the person by.
    pub fn from_claims(given: Option<&str>, family: Option<&str>, name: Option<&str>) -> Self {
        let name = clean(name.unwrap_or_default());
        let (split_first, split_last) = name.rsplit_once(' ').unwrap_or((&name, ""));
        let or = |claim: Option<&str>, fallback: &str| {
            let claim = clean(claim.unwrap_or_default());
            cap(if claim.is_empty() { fallback } else { &claim })
        };
        Self {
            first: or(given, split_first),
            last: or(family, split_last),
        }
    }

    /// The first name, for the row and the person's own answers.
    pub fn first_secret(&self) -> &str {
        &self.first
    }

    /// The last name, for the row and the person's own answers.
    pub fn last_secret(&self) -> &str {
        &self.last
    }
}

impl fmt::Debug for PersonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonName(hidden)")
    }
}

/// Single spaces between words, and nothing that cannot be seen.
fn clean(text: &str) -> String {
    let words = text
        .split_whitespace()
        .map(|word| word.chars().filter(|c| !is_invisible(*c)).collect::<String>());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn cap(text: &str) -> String {
    let capped: String = text.chars().take(MAX_NAME_CHARS).collect();
    capped.trim_end().to_owned()
}

/// Controls, and the format characters that can hide text or turn its direction around.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(Some("Anne Marie"), Some("Nordmann"), Some("Other Person"), "Anne Marie", "Nordmann")]
    #[case(None, None, Some("Anne Marie Nordmann"), "Anne Marie", "Nordmann")]
    #[case(None, None, Some("Nordmann"), "Nordmann", "")]
    #[case(Some("Anne"), None, Some("Anne Nordmann"), "Anne", "Nordmann")]
    #[case(Some(" "), Some(""), Some("Anne Nordmann"), "Anne", "Nordmann")]
    #[case(None, None, None, "", "")]
    #[case(None, None, Some("  Ole \n\t Øye\u{feff}bråten "), "Ole", "Øyebråten")]
    #[case(Some("A\u{0}n\u{7f}ne\u{202e}"), Some("\u{1b}[31mX"), None, "Anne", "[31mX")]
    #[case(Some("\u{200b}"), Some("\u{0}"), Some("Anne Nordmann"), "Anne", "Nordmann")]
    fn a_name_is_taken_or_split_and_cleaned(
        #[case] given: Option<&str>,
        #[case] family: Option<&str>,
        #[case] name: Option<&str>,
        #[case] first: &str,
        #[case] last: &str,
    ) {
        let person = PersonName::from_claims(given, family, name);
        assert_eq!((person.first_secret(), person.last_secret()), (first, last));
    }

    #[test]
    fn a_long_name_is_cut_by_characters() {
        let person = PersonName::from_claims(Some(&"ø".repeat(5_000)), Some("Å"), None);
        assert_eq!(person.first_secret(), "ø".repeat(MAX_NAME_CHARS));
    }

    #[test]
    fn debug_shows_nothing_of_the_name() {
        assert_eq!(
            format!("{:?}", PersonName::from_claims(Some("Anne"), None, None)),
            "PersonName(hidden)"
        );
    }

    proptest! {
        #[test]
        fn no_name_is_too_long_or_holds_a_control(given in ".*", family in ".*", name in ".*") {
            let person = PersonName::from_claims(Some(&given), Some(&family), Some(&name));
            for part in [person.first_secret(), person.last_secret()] {
                prop_assert!(part.chars().count() <= MAX_NAME_CHARS);
                prop_assert!(!part.chars().any(char::is_control));
                prop_assert_eq!(part.trim(), part);
            }
        }
    }
}
