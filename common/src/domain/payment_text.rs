//! Texts that travel through banks: the one character set that all of them carry, SEPA's Latin letters.

use std::fmt;

/// Text in `a-zA-Z0-9/-?:().,'+_` and space, with æ, ø and å written out. `Debug` hides it: it holds names.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentText(String);

impl PaymentText {
    /// Trims spaces, writes æøå as `ae`, `o`, `a`, and refuses every other character outside the set rather than
    /// dropping it: what is sent is what the person confirmed. `max_chars` counts what goes out.
    pub fn parse(text: &str, max_chars: usize) -> Result<Self, PaymentTextError> {
        let mut safe = String::with_capacity(text.len());
        for c in text.trim_matches(' ').chars() {
            match c {
                'æ' => safe.push_str("ae"),
                'Æ' => safe.push_str("AE"),
                'ø' => safe.push('o'),
                'Ø' => safe.push('O'),
                'å' => safe.push('a'),
                'Å' => safe.push('A'),
                // The underscore is the contract's: its own example sends `tx_rem_abc123`.
                'a'..='z'
                | 'A'..='Z'
                | '0'..='9'
                | ' '
                | '_'
                | '/'
                | '-'
                | '?'
                | ':'
                | '('
                | ')'
                | '.'
                | ','
                | '\''
                | '+' => safe.push(c),
                _ => return Err(PaymentTextError::UnsafeCharacter),
            }
        }
        match safe.len() {
            0 => Err(PaymentTextError::Empty),
            // All of it is ASCII by now, so bytes are characters.
            length if length > max_chars => Err(PaymentTextError::TooLong { max_chars }),
            _ => Ok(Self(safe)),
        }
    }

    /// The text, for the bank, the row and its owner.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PaymentText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PaymentText(hidden)")
    }
}

/// Why a text cannot travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PaymentTextError {
    /// Nothing but spaces.
    #[error("the text is empty")]
    Empty,
    /// A character that banks do not carry.
    #[error("the text may hold letters a to z, æøå, digits, spaces and /-?:().,'+_ only")]
    UnsafeCharacter,
    /// Too long once æ is written as two letters.
    #[error("the text is longer than {max_chars} characters")]
    TooLong {
        /// The most that may go out.
        max_chars: usize,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Drop remittance tx_rem_abc123", "Drop remittance tx_rem_abc123")]
    #[case("  Husleie (mars): 5.000,- + 'strøm'?  ", "Husleie (mars): 5.000,- + 'strom'?")]
    #[case("Æøå ÆØÅ", "AEoa AEOA")]
    fn text_is_trimmed_and_norwegian_letters_are_written_out(#[case] text: &str, #[case] safe: &str) {
        assert_eq!(PaymentText::parse(text, 140).unwrap().as_str(), safe);
    }

    #[rstest]
    #[case("")]
    #[case("   ")]
    fn nothing_is_not_a_text(#[case] text: &str) {
        assert_eq!(PaymentText::parse(text, 140), Err(PaymentTextError::Empty));
    }

    #[rstest]
    #[case("line\nbreak")]
    #[case("end\n")]
    #[case("tab\t")]
    #[case("nul\u{0}")]
    #[case("party \u{1f389}")]
    #[case("a*b")]
    #[case("<b>")]
    #[case("Petrovi\u{107}")]
    #[case("a\u{a0}b")]
    #[case("a\u{30a}")]
    fn what_banks_do_not_carry_is_refused(#[case] text: &str) {
        assert_eq!(PaymentText::parse(text, 140), Err(PaymentTextError::UnsafeCharacter));
    }

    #[test]
    fn length_is_counted_in_the_characters_that_go_out() {
        assert!(PaymentText::parse(&"ø".repeat(140), 140).is_ok());
        assert!(PaymentText::parse(&"æ".repeat(70), 140).is_ok());
        let too_long = Err(PaymentTextError::TooLong { max_chars: 140 });
        assert_eq!(PaymentText::parse(&"a".repeat(141), 140), too_long);
        assert_eq!(PaymentText::parse(&"æ".repeat(71), 140), too_long);
    }

    proptest! {
        #[test]
        fn a_safe_text_stays_what_it_is(text in "[a-zæøåA-ZÆØÅ0-9_/?:().,'+ -]{0,100}") {
            if let Ok(safe) = PaymentText::parse(&text, 140) {
                prop_assert_eq!(PaymentText::parse(safe.as_str(), 140), Ok(safe));
            }
        }

        #[test]
        fn no_text_panics_or_lets_other_characters_through(text in ".*") {
            if let Ok(safe) = PaymentText::parse(&text, 140) {
                prop_assert!(safe.as_str().is_ascii() && !safe.as_str().contains(char::is_control));
            }
        }
    }
}
