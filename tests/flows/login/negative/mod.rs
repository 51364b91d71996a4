//! Logins that must not succeed. A refusal leaves no user, no session and no secret, asks for tokens at most once, shows
//! none of BankID's own words, and the same person gets in right after.
//!
//! A test goes through the ways of one row in one service, each with a person of their own.
//!
//! | row | what may be wrong | tests |
//! |---|---|---|
//! | 1 | `iss` | `the_issuer_of_a_token_is_compared_byte_by_byte` |
//! | 2 | `aud`, `azp` | `a_token_is_for_us_alone_whatever_its_azp_says` |
//! | 3 | the signature | `a_token_is_signed_by_bankids_key_over_what_it_says` |
//! | 4 | `alg` | `a_token_does_not_choose_how_it_is_verified`, `a_right_signature_by_an_algorithm_that_is_not_pinned_is_refused` |
//! | 5 | `jwk`, `jku`, `x5u` | `a_key_that_a_token_brings_along_is_neither_believed_nor_fetched` |
//! | 6 | `crit`, `kid` | `a_token_with_a_critical_header_is_refused`, `the_name_of_a_key_is_nothing_but_a_name` |
//! | 7 | an unknown `kid` | `however_many_unknown_keys_are_named_the_set_is_fetched_twice` |
//! | 8 | a new `kid` | `a_key_that_is_published_only_when_it_signs_is_fetched_and_believed`, `a_key_that_was_published_before_it_signs_costs_no_fetch` |
//! | 9 | no `kid` | `a_token_that_names_no_key_is_accepted_where_one_fits_and_refused_where_several_do` |
//! | 10 | keys for something else | `a_key_for_encryption_verifies_no_signature`, `keys_of_unknown_kinds_are_skipped_and_the_others_serve` |
//! | 11, 12 | `exp`, `iat`, `nbf` | `a_token_is_good_for_its_time_and_ten_seconds_between_the_clocks` |
//! | 13 | `sub` | `a_token_needs_a_usable_subject` |
//! | 14 | `nonce` | `a_token_holds_the_nonce_of_its_own_login` |
//! | 15 | `at_hash` | `a_hash_in_a_token_is_that_of_the_access_token_beside_it` |
//! | 16 | `acr` | `a_token_is_of_the_level_that_was_asked_for`, `a_token_without_a_level_is_refused_where_one_is_required` |
//! | 17 | `typ` | `a_token_of_another_kind_is_no_id_token` |
//! | 18 | `id_token` itself | `an_id_token_that_is_none_ends_the_login` |
//! | 19 | `state` | `a_callback_whose_state_is_not_this_logins_disturbs_nobody`, `a_callback_in_a_browser_that_did_not_start_this_login_disturbs_nobody`, `a_callback_that_comes_again_is_refused_without_another_request`, `a_callback_after_fifteen_minutes_is_refused` |
//! | 20 | `code`, `error`, `iss` of the callback | `a_callback_that_says_something_twice_or_too_much_disturbs_nobody`, `a_way_back_without_a_usable_code_or_from_another_issuer_ends_before_any_token_is_asked_for`, `a_way_back_without_an_issuer_is_refused_only_where_it_is_promised`, `an_error_counts_although_a_code_comes_with_it` |
//! | 21 | the code of another login | `the_code_of_another_login_fails_for_want_of_its_verifier`, `the_code_of_another_login_fails_by_its_nonce_where_bankid_does_not_look_at_the_verifier` |
//! | 22 | a callback more than once | `a_callback_that_comes_twice_at_once_gives_one_session_and_one_request`, `of_fifty_callbacks_at_once_one_opens_a_session` |
//! | 23 | the token endpoint | `a_token_endpoint_that_fails_ends_the_login_after_one_request`, `a_token_endpoint_that_is_slow_ends_the_login_after_ten_seconds_and_one_request`, `the_access_token_is_a_bearer_token_in_any_letter_case` |
//! | 24 | redirects | `a_token_endpoint_that_redirects_is_not_followed_with_code_and_secret`, `a_key_set_that_redirects_is_not_followed` |
//! | 25 | the key set | `a_key_set_that_cannot_be_used_ends_the_login_and_the_next_one_recovers`, `logins_go_on_with_the_keys_at_hand_while_a_fetch_hangs`, `a_login_that_needs_a_fetch_which_hangs_holds_up_no_other` |
//! | 26 | the discovery document | `neither_process_starts_with_a_document_that_is_not_the_issuers_own`, `a_document_that_is_not_to_be_trusted_is_refused_at_once`, `an_answer_that_is_no_document_is_refused_at_once` |
//! | 27 | the national id | `a_national_id_that_is_none_is_refused_and_nothing_of_it_is_stored`, `two_national_ids_must_be_one`, `a_synthetic_national_id_is_refused_where_its_series_is_not_configured`, `a_synthetic_national_id_is_accepted_where_its_series_is_configured` |
//! | 28 | no national id | `a_person_without_a_national_id_is_known_by_subject_where_the_birth_date_proves_the_age`, `a_subject_that_is_somebodys_national_id_is_somebody_else` |
//! | 29, 30 | the age | `a_minor_is_refused_by_whichever_date_is_the_younger`, `an_adult_whose_two_dates_differ_gets_in_and_somebody_is_told`, `a_birth_date_that_is_no_date_does_not_count_as_none`, `a_birth_date_whose_year_is_kept_back_proves_no_age` |
//! | 31 | more than was asked for | `claims_that_nobody_asked_for_change_nothing_and_userinfo_is_not_called` |

mod callback;
mod claims;
mod exchange;
mod keys;
mod person;
mod signature;

const OWN: [&str; 6] = [
    include_str!("callback.rs"),
    include_str!("claims.rs"),
    include_str!("exchange.rs"),
    include_str!("keys.rs"),
    include_str!("person.rs"),
    include_str!("signature.rs"),
];

/// Tests that also show something else.
const BESIDE: [&str; 3] = [
    include_str!("../concurrency.rs"),
    include_str!("../../discovery.rs"),
    include_str!("../../../../common/src/providers/bankid/tests/discovery.rs"),
];

/// The cells of the table's rows.
fn table() -> impl Iterator<Item = Vec<&'static str>> {
    let rows = include_str!("mod.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "));
    let rows = rows.map(|row| row.trim_end_matches(" |").split(" | ").collect());
    rows.skip(1) // what the columns are called
}

#[test]
fn the_table_has_every_row() {
    let rows = table().flat_map(|cells| cells[0].split(", "));
    let rows: Vec<u8> = rows.map(|row| row.parse().expect("a number")).collect();
    assert_eq!(rows, (1..=31).collect::<Vec<_>>());
}

#[test]
fn the_table_names_every_test_and_no_other() {
    let tests = |file: &'static str| {
        // What stands right behind an attribute is a test.
        let tests = file.split("]\nasync fn ").skip(1);
        tests.map(|rest| rest.split('(').next().unwrap_or_default())
    };
    let own: Vec<&str> = OWN.into_iter().flat_map(tests).collect();
    let beside: Vec<&str> = BESIDE.into_iter().flat_map(tests).collect();
    let named: Vec<&str> = table()
        .filter_map(|cells| cells.last().copied())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    for name in &named {
        assert!(own.contains(name) || beside.contains(name), "there is no {name}");
    }
    for name in &own {
        assert!(named.contains(name), "{name} is in no row");
    }
}
