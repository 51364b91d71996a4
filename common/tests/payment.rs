//! Payment orders: what is taken, what is refused field by field, and what the fingerprint tells apart.

#![cfg(test)]

use drop_common::domain::account_number::{AccountNumber, AccountNumberError};
use drop_common::domain::money::{Amount, AmountError, Currency};
use drop_common::domain::payment::{FieldProblem, OrderError, OrderInput, PaymentOrder};
use drop_common::domain::payment_text::PaymentTextError;
use proptest::prelude::*;
use rstest::rstest;

const CONTRACT: OrderInput<'static> = OrderInput {
    account: "acc_0192f0c1a2b37c4d8e5f60718293a4b5",
    amount: "2010.00",
    currency: "NOK",
    creditor_name: "Marko Petrovic",
    creditor_iban: None,
    creditor_bban: Some("265-1234567-89"),
    remittance: Some("Drop remittance tx_rem_abc123"),
};

fn order(input: OrderInput<'_>) -> PaymentOrder {
    PaymentOrder::parse(&input).unwrap()
}

fn problems(input: OrderInput<'_>) -> Vec<(&'static str, OrderError)> {
    let problems = PaymentOrder::parse(&input).unwrap_err();
    problems
        .into_iter()
        .map(|FieldProblem { field, error }| (field, error))
        .collect()
}

#[test]
fn the_contracts_example_is_taken_as_it_is() {
    let order = order(CONTRACT);
    assert_eq!(order.debtor().to_string(), CONTRACT.account);
    assert_eq!(order.amount(), Amount::nok(201_000));
    assert_eq!(order.creditor_name().as_str(), "Marko Petrovic");
    assert_eq!(order.creditor_account().wire_secret(), "265-1234567-89");
    assert_eq!(order.remittance().unwrap().as_str(), "Drop remittance tx_rem_abc123");
}

#[test]
fn a_blank_text_is_no_text() {
    for remittance in [None, Some(""), Some("  ")] {
        assert_eq!(order(OrderInput { remittance, ..CONTRACT }).remittance(), None);
    }
}

#[rstest]
#[case("0", OrderError::NotPositive)]
#[case("-0", OrderError::NotPositive)]
#[case("-1.00", OrderError::NotPositive)]
#[case("10,50", OrderError::Amount(AmountError::Malformed))]
#[case("1e3", OrderError::Amount(AmountError::Malformed))]
#[case("1.005", OrderError::Amount(AmountError::TooPrecise { currency: Currency::Nok }))]
fn an_amount_that_cannot_be_paid_is_refused(#[case] amount: &str, #[case] error: OrderError) {
    assert_eq!(
        problems(OrderInput { amount, ..CONTRACT }),
        [("instructedAmount.amount", error)]
    );
}

#[test]
fn every_wrong_field_is_named_at_once() {
    let wrong = OrderInput {
        account: "0192f0c1a2b37c4d8e5f60718293a4b5",
        amount: "1.00",
        currency: "nok",
        creditor_name: " ",
        creditor_iban: Some("NO9386011117948"),
        creditor_bban: None,
        remittance: Some("two\nlines"),
    };
    let expected = [
        ("accountId", OrderError::AccountId),
        ("instructedAmount.currency", OrderError::Currency),
        ("creditorName", OrderError::Text(PaymentTextError::Empty)),
        (
            "creditorAccount.iban",
            OrderError::Account(AccountNumberError::CheckDigits),
        ),
        (
            "remittanceInformation",
            OrderError::Text(PaymentTextError::UnsafeCharacter),
        ),
    ];
    assert_eq!(problems(wrong), expected);
}

#[test]
fn long_texts_are_refused_by_their_own_limits() {
    let (name, text) = ("n".repeat(71), "t".repeat(141));
    let wrong = OrderInput {
        creditor_name: &name,
        remittance: Some(&text),
        ..CONTRACT
    };
    let too_long = |max_chars| OrderError::Text(PaymentTextError::TooLong { max_chars });
    assert_eq!(
        problems(wrong),
        [("creditorName", too_long(70)), ("remittanceInformation", too_long(140))]
    );
    assert!(
        PaymentOrder::parse(&OrderInput {
            creditor_name: &name[1..],
            remittance: Some(&text[1..]),
            ..CONTRACT
        })
        .is_ok()
    );
}

#[test]
fn a_payment_goes_to_exactly_one_account() {
    let both = OrderInput {
        creditor_iban: Some("NO9386011117947"),
        ..CONTRACT
    };
    let neither = OrderInput {
        creditor_bban: None,
        ..CONTRACT
    };
    for input in [both, neither] {
        assert_eq!(problems(input), [("creditorAccount", OrderError::OneAccount)]);
    }
}

#[test]
fn a_payment_to_its_own_account_is_seen_whatever_the_spelling() {
    let debtor = AccountNumber::iban("NO9386011117947").unwrap();
    let bban = order(OrderInput {
        creditor_bban: Some("8601.11.17947"),
        ..CONTRACT
    });
    let iban = order(OrderInput {
        creditor_bban: None,
        creditor_iban: Some("no93 8601 1117 947"),
        ..CONTRACT
    });
    assert!(bban.pays_itself(&debtor) && iban.pays_itself(&debtor));
    assert!(!order(CONTRACT).pays_itself(&debtor));
}

#[test]
fn another_spelling_of_the_same_payment_has_the_same_fingerprint() {
    let first = order(CONTRACT).fingerprint();
    let same = [
        OrderInput {
            amount: "2010.0",
            ..CONTRACT
        },
        OrderInput {
            amount: "02010",
            ..CONTRACT
        },
        OrderInput {
            creditor_bban: Some("265123456789"),
            ..CONTRACT
        },
        OrderInput {
            creditor_name: " Marko Petrovic ",
            ..CONTRACT
        },
    ];
    for input in same {
        assert_eq!(order(input).fingerprint(), first);
    }
    let iban = OrderInput {
        creditor_bban: None,
        creditor_iban: Some("NO93 8601 1117 947"),
        ..CONTRACT
    };
    let bban = OrderInput {
        creditor_bban: Some("86011117947"),
        ..CONTRACT
    };
    assert_eq!(order(iban).fingerprint(), order(bban).fingerprint());
}

#[test]
fn every_field_counts_in_the_fingerprint() {
    let different = [
        CONTRACT,
        OrderInput {
            account: "acc_0192f0c1a2b37c4d8e5f60718293a4b6",
            ..CONTRACT
        },
        OrderInput {
            amount: "2010.01",
            ..CONTRACT
        },
        OrderInput {
            currency: "EUR",
            ..CONTRACT
        },
        OrderInput {
            creditor_name: "Marko Petrovi",
            ..CONTRACT
        },
        OrderInput {
            creditor_bban: Some("265-1234567-88"),
            ..CONTRACT
        },
        OrderInput {
            remittance: Some("Drop remittance tx_rem_abc124"),
            ..CONTRACT
        },
        OrderInput {
            remittance: None,
            ..CONTRACT
        },
    ];
    let digests: std::collections::HashSet<_> = different
        .iter()
        .map(|input| *order(*input).fingerprint().as_bytes())
        .collect();
    assert_eq!(digests.len(), different.len());
}

#[test]
fn the_fingerprint_of_a_stored_order_never_changes() {
    // Computed apart from this code, over length-prefixed fields.
    let stored = [
        0xc0, 0xc1, 0x03, 0x5d, 0x9b, 0x5d, 0x5b, 0x20, 0x86, 0x6a, 0x06, 0xf2, 0x67, 0x6f, 0xe6, 0xb4, 0xdd, 0xba,
        0x6f, 0xe1, 0x87, 0x2e, 0x04, 0x5c, 0xb0, 0xb9, 0xa4, 0xc3, 0x16, 0x0c, 0x49, 0x42,
    ];
    assert_eq!(order(CONTRACT).fingerprint().as_bytes(), &stored);
}

#[test]
fn debug_shows_no_person() {
    let order = order(CONTRACT);
    let shown = format!("{order:?} {:?} {:?}", order.creditor_name(), order.fingerprint());
    for secret in ["Marko", "265", "remittance"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

proptest! {
    #[test]
    fn text_cannot_move_between_fields(name in "[a-z]{1,20}", text in "[a-z]{1,20}") {
        let whole = format!("{name}{text}");
        for split in 1..whole.len() {
            let (moved_name, moved_text) = whole.split_at(split);
            let one = order(OrderInput { creditor_name: &name, remittance: Some(&text), ..CONTRACT });
            let other = order(OrderInput { creditor_name: moved_name, remittance: Some(moved_text), ..CONTRACT });
            prop_assert_eq!(one.fingerprint() == other.fingerprint(), split == name.len());
        }
    }
}
