//! Account numbers: what is taken, what is refused, and when two spellings are one account.

#![cfg(test)]

use drop_common::domain::account_number::{AccountKind, AccountNumber, AccountNumberError, Scheme};
use proptest::prelude::*;
use rstest::rstest;

/// An IBAN whose mod 97 is right, whatever the account is worth. `numbers` is the country with A = 10 to Z = 35.
fn with_check_digits(country: &str, numbers: &str, account: &str) -> String {
    let rest = format!("{account}{numbers}00")
        .bytes()
        .fold(0, |rest, byte| (rest * 10 + u32::from(byte - b'0')) % 97);
    format!("{country}{:02}{account}", 98 - rest)
}

#[rstest]
#[case("NO9386011117947", "NO9386011117947")]
#[case("no93 8601 1117 947", "NO9386011117947")]
#[case("  NO93 86 01 11 17 947 ", "NO9386011117947")]
#[case("DE89370400440532013000", "DE89370400440532013000")]
#[case("GB82 WEST 1234 5698 7654 32", "GB82WEST12345698765432")]
fn an_iban_is_read_whatever_its_spaces_and_case(#[case] text: &str, #[case] canonical: &str) {
    let number = AccountNumber::iban(text).unwrap();
    assert_eq!(
        (number.kind(), number.canonical_secret()),
        (AccountKind::Iban, canonical)
    );
    assert_eq!((number.scheme(), number.wire_secret()), (Scheme::Iban, canonical));
}

#[rstest]
#[case("", AccountNumberError::Malformed)]
#[case("NO93-8601-1117-947", AccountNumberError::Malformed)]
#[case("NO93860111179470", AccountNumberError::CheckDigits)]
#[case("NO9486011117947", AccountNumberError::CheckDigits)]
#[case("NO9386011117948", AccountNumberError::CheckDigits)]
#[case("NO93\u{a0}86011117947", AccountNumberError::Malformed)]
#[case("NO93 8601 1117 94\u{667}", AccountNumberError::Malformed)]
#[case("86011117947", AccountNumberError::Malformed)]
fn an_iban_that_is_not_one_is_refused(#[case] text: &str, #[case] error: AccountNumberError) {
    assert_eq!(AccountNumber::iban(text), Err(error));
}

#[test]
fn mod_97_alone_does_not_make_a_norwegian_iban() {
    let wrong = with_check_digits("NO", "2324", "86011117948");
    assert!(wrong.parse::<iban::BaseIban>().is_ok());
    assert_eq!(AccountNumber::iban(&wrong), Err(AccountNumberError::CheckDigits));
}

#[test]
fn an_unknown_country_and_a_foreign_length_are_refused() {
    let unknown = with_check_digits("XX", "3333", "86011117947");
    assert_eq!(AccountNumber::iban(&unknown), Err(AccountNumberError::UnknownCountry));
    let long = with_check_digits("NO", "2324", "860111179470");
    assert_eq!(AccountNumber::iban(&long), Err(AccountNumberError::Malformed));
}

#[test]
fn check_digits_outside_02_to_98_are_refused() {
    // The account whose check digits are 98 (remainder 0) also satisfies mod 97 with 01.
    let mut accounts = (0..).filter_map(|n| AccountNumber::bban(&format!("{n:011}")).ok());
    let account = accounts
        .find(|account| account.canonical_secret().starts_with("NO98"))
        .unwrap();
    let right = account.canonical_secret();
    assert!(AccountNumber::iban(right).is_ok());
    let wrong = right.replacen("NO98", "NO01", 1);
    assert_eq!(AccountNumber::iban(&wrong), Err(AccountNumberError::CheckDigits));
}

#[rstest]
fn a_norwegian_bban_is_the_account_of_its_iban(#[values("86011117947", "8601.11.17947", "8601 11 17947")] text: &str) {
    let number = AccountNumber::bban(text).unwrap();
    assert_eq!(
        (number.kind(), number.scheme()),
        (AccountKind::NorwegianBban, Scheme::Bban)
    );
    assert_eq!(number.wire_secret(), "86011117947");
    assert_eq!(number, AccountNumber::iban("NO9386011117947").unwrap());
}

#[test]
fn the_contracts_foreign_bban_keeps_its_dashes_towards_the_bank_only() {
    let number = AccountNumber::bban("265-1234567-89").unwrap();
    assert_eq!(
        (number.kind(), number.wire_secret()),
        (AccountKind::ForeignBban, "265-1234567-89")
    );
    assert_eq!(number.canonical_secret(), "265123456789");
    assert_eq!(number, AccountNumber::bban("265123456789").unwrap());
}

#[test]
fn a_foreign_bban_that_reads_like_an_iban_is_another_account() {
    let foreign = AccountNumber::bban("NO9386011117947").unwrap();
    assert_ne!(foreign, AccountNumber::iban("NO9386011117947").unwrap());
}

#[rstest]
#[case("86011117948", AccountNumberError::CheckDigits)]
#[case("8601 11 17946", AccountNumberError::CheckDigits)]
#[case("", AccountNumberError::Malformed)]
#[case("-", AccountNumberError::Malformed)]
#[case("12--------------34", AccountNumberError::Malformed)]
#[case("265/1234567/89", AccountNumberError::Malformed)]
#[case("265 1234567 89", AccountNumberError::Malformed)]
#[case("26512345678ø", AccountNumberError::Malformed)]
#[case("1234567890123456789012345678901", AccountNumberError::Malformed)]
fn a_bban_that_is_not_one_is_refused(#[case] text: &str, #[case] error: AccountNumberError) {
    assert_eq!(AccountNumber::bban(text), Err(error));
}

#[test]
fn masked_and_debug_forms_hide_the_account() {
    let number = AccountNumber::iban("NO9386011117947").unwrap();
    assert_eq!(number.masked(), "NO93********947");
    assert_eq!(format!("{number:?}"), "AccountNumber(Iban, hidden)");
    assert_eq!(AccountNumber::bban("86011117947").unwrap().masked(), "NO93********947");
    assert_eq!(AccountNumber::bban("265-1234567-89").unwrap().masked(), "2651*****789");
    assert_eq!(AccountNumber::bban("1234567").unwrap().masked(), "****567");
    assert_eq!(AccountNumber::bban("123").unwrap().masked(), "***");
}

proptest! {
    #[test]
    fn every_norwegian_account_reads_the_same_both_ways(ten in 0_u64..10_000_000_000) {
        let accounts: Vec<_> = (0..10).map(|check| format!("{ten:010}{check}")).filter(|a| AccountNumber::bban(a).is_ok()).collect();
        prop_assert!(accounts.len() <= 1);
        for account in accounts {
            let bban = AccountNumber::bban(&account).unwrap();
            let iban = AccountNumber::iban(bban.canonical_secret()).unwrap();
            prop_assert_eq!(&bban, &iban);
            prop_assert_eq!(&iban.canonical_secret()[4..], account.as_str());
        }
    }

    #[test]
    fn what_was_read_reads_back_from_what_the_bank_gets(text in "[A-Za-z0-9. -]{0,34}") {
        for scheme in Scheme::ALL {
            if let Ok(number) = AccountNumber::parse(*scheme, &text) {
                let again = AccountNumber::parse(number.scheme(), number.wire_secret()).unwrap();
                prop_assert_eq!(again.wire_secret(), number.wire_secret());
                prop_assert_eq!(again, number);
            }
        }
    }

    #[test]
    fn no_text_panics(text in ".*") {
        for scheme in Scheme::ALL {
            if let Ok(number) = AccountNumber::parse(*scheme, &text) {
                let _ = number.masked();
            }
        }
    }
}
