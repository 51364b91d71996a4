//! The 64 cases in which money could move wrongly, and the tests that show what happens in each.
//!
//! | case | what | tests, or why there is none |
//! |---|---|---|
//! | 1 | a double click | `a_second_click_is_the_same_payment_whatever_form_its_key_has_and_a_malformed_key_is_400` |
//! | 2 | fifty at once with one key | `p3_those_that_looked_for_a_key_before_it_was_stored_find_it_under_the_lock`, `fifty_requests_at_once_with_one_key_are_one_row_one_call_and_equal_answers` |
//! | 3 | the same key, another order | `the_same_key_is_the_same_payment_and_another_order_under_it_is_422`, `fifty_requests_at_once_with_one_key_are_one_row_one_call_and_equal_answers` |
//! | 4 | the same key, another user | `two_people_with_one_key_at_the_same_moment_have_a_payment_each`, `fifty_requests_at_once_with_one_key_are_one_row_one_call_and_equal_answers` |
//! | 5 | another key, an equal payment | `an_equal_payment_under_another_key_names_the_first_and_passes_when_it_is_confirmed`, `an_equal_payment_after_the_first_is_over_is_allowed_and_the_audit_names_the_first_for_a_minute` |
//! | 6 | no key, or none that is one | `a_second_click_is_the_same_payment_whatever_form_its_key_has_and_a_malformed_key_is_400`, `empty_long_and_invisible_keys_are_refused` |
//! | 7 | a key that is no UUID | `a_second_click_is_the_same_payment_whatever_form_its_key_has_and_a_malformed_key_is_400` |
//! | 8 | a crash before the order leaves | `p1_p2_p5_p6_p7_p8_a_worker_that_dies_while_it_sends_loses_no_payment_and_makes_none_twice`, `p1_p3_p5_an_api_that_dies_while_it_takes_an_order_has_taken_it_once_or_not_at_all`, `a_payment_that_could_not_be_sent_within_five_minutes_has_failed_and_is_never_sent` |
//! | 9 | a crash before the answer is stored | `p1_p5_p6_a_worker_that_dies_while_it_starts_an_approval_starts_none_twice_and_loses_no_payment`, `p1_p2_p5_p6_p7_p8_a_worker_that_dies_while_it_sends_loses_no_payment_and_makes_none_twice`, `an_attempt_whose_process_died_is_never_repeated_but_reviewed` |
//! | 10 | a bank that cannot be reached | `p11_a_bank_that_cannot_be_reached_fails_no_payment_before_its_time_and_is_sent_none_after_it`, `what_did_not_leave_is_tried_again_after_1_2_and_4_seconds_and_then_every_ten`, `a_refused_connection_is_not_sent` |
//! | 11 | an answer that is lost | `an_answer_that_is_lost_is_reviewed_and_nothing_is_sent_again`, `an_order_is_reviewed_and_not_sent_again_when_the_banks_answer_cannot_be_had_or_read` |
//! | 12 | 500, 502, 503, then 201 | `after_500_502_and_503_an_order_waits_for_the_circuit_and_goes_out_once_more_under_its_key`, `an_order_that_the_bank_takes_after_an_error_is_told_for_it_may_have_taken_both`, `where_only_deduplicated_errors_are_retried_an_order_that_was_executed_behind_one_is_one_order` |
//! | 13 | 504, a reset, half an answer | `an_order_is_reviewed_and_not_sent_again_when_the_banks_answer_cannot_be_had_or_read`, `a_payment_is_sent_once_and_its_failure_has_one_class` |
//! | 14 | 400, 403, 404, 422 | `a_definite_no_of_the_banks_ends_a_payment_and_nothing_is_asked_again` |
//! | 15 | an expired access token | `an_access_token_that_has_expired_costs_one_request_more_and_no_second_payment`, `an_expired_token_is_replaced_once_and_the_call_repeated_with_the_same_request_id` |
//! | 16 | 429 | `a_bank_that_asks_for_fewer_calls_is_sent_no_payment_for_that_long`, `b5_no_refusal_and_no_limit_of_the_banks_counts_towards_an_open_circuit` |
//! | 17 | a 201 that lacks something | `an_order_is_reviewed_and_not_sent_again_when_the_banks_answer_cannot_be_had_or_read`, `what_the_bank_says_at_once_counts_and_what_it_leaves_out_is_not_made_up`, `a_payment_without_a_link_that_can_be_trusted_is_shown_without_one_and_looked_at_by_a_person`, `the_first_answer_has_the_link_and_the_payment_completes`, `a_start_that_may_have_arrived_is_never_made_again_and_is_told` |
//! | 18 | rejected at once | `what_the_bank_says_at_once_counts_and_what_it_leaves_out_is_not_made_up` |
//! | 19 | a link to somewhere else | `a_payment_without_a_link_that_can_be_trusted_is_shown_without_one_and_looked_at_by_a_person`, `a_user_is_sent_to_an_allow_listed_bank_only_and_the_payment_is_kept` |
//! | 20 | one id of the bank's for two payments | `a_banks_id_that_is_another_payments_overwrites_nothing_and_calls_for_a_person` |
//! | 21 | back before the answer is stored | `who_comes_back_before_the_banks_answer_is_stored_sees_processing_and_then_the_end` |
//! | 22 | back ten times | `coming_back_ten_times_and_once_more_after_the_end_is_coming_back_once` |
//! | 23 | back with somebody else's payment | `a_forged_callback_is_404_and_does_not_even_let_the_bank_be_asked` |
//! | 24 | back with a forged state | `a_forged_callback_is_404_and_does_not_even_let_the_bank_be_asked` |
//! | 25 | back as from an approval, without one | `the_banks_word_counts_whatever_the_way_back_says` |
//! | 26 | back as from a refusal, and paid | `the_banks_word_counts_whatever_the_way_back_says` |
//! | 27 | paid, and never back | `p4_p5_p10_a_worker_that_dies_while_it_polls_delays_a_completion_and_tells_it_once`, `an_order_that_the_bank_will_not_withdraw_is_looked_at_again_before_it_counts_as_timed_out` |
//! | 28 | settled after the time for approval | `a_payment_that_the_bank_settles_after_its_time_for_approval_is_completed_and_its_owner_told`, `whoever_was_told_that_it_ended_hears_that_the_bank_goes_on_with_it` |
//! | 29 | the same again after that time | `a_payment_that_the_bank_settles_after_its_time_for_approval_is_completed_and_its_owner_told` |
//! | 30 | back while the time is being ended | `who_comes_back_while_the_bank_is_asked_has_not_timed_out_and_the_bank_is_asked_again` |
//! | 31 | a word that goes back | `a_word_that_goes_back_or_that_nobody_knows_moves_nothing_and_the_bank_is_asked_on`, `a_code_behind_the_stored_one_is_ignored` |
//! | 32 | a last word that changes | `a_final_word_that_changes_is_a_conflict_and_flips_nothing`; nobody is asked again after the last word |
//! | 33 | a word that nobody knows | `a_word_that_goes_back_or_that_nobody_knows_moves_nothing_and_the_bank_is_asked_on`, `an_unknown_code_changes_nothing_and_is_told` |
//! | 34 | accepted for ever | `a_completion_that_was_provisional_and_is_taken_back_is_told_to_its_owner_and_to_operations`, `a_payment_that_the_bank_only_ever_accepts_is_given_to_a_person_after_seven_days` |
//! | 35 | accepted with a change | `the_banks_amount_is_shown_and_a_difference_is_told_once`, `an_order_that_could_not_be_read_is_read_with_the_next_look_even_after_the_last_word`, `a_bank_that_never_says_what_it_changed_is_told_with_its_last_word` |
//! | 36 | unknown at the bank | `a_payment_that_is_gone_and_was_not_withdrawn_is_reviewed_once_and_polled_on`, `a_payment_that_is_gone_after_its_withdrawal_is_over_and_nobody_is_alerted`, `p4_p5_p6_an_order_that_the_bank_forgot_with_its_withdrawal_has_ended_whatever_became_of_the_answer`, `one_mistaken_404_gives_up_no_order_whose_withdrawal_got_lost` |
//! | 37 | what a bank answers to a withdrawal | `a_person_who_never_approves_has_failed_when_the_time_is_over_and_the_order_is_withdrawn`, `a_bank_that_wants_an_approval_for_it_has_cancelled_nothing_and_can_be_asked_again`, `an_order_that_the_bank_will_not_withdraw_is_looked_at_again_before_it_counts_as_timed_out`, `a_bank_that_does_not_answer_leaves_the_payment_to_its_own_course`, `where_a_bank_withdraws_no_orders_one_that_it_does_not_know_later_is_looked_at_by_a_person` |
//! | 38 | taken back during the approval | `a_payment_that_waits_for_approval_is_withdrawn_and_final_with_the_banks_next_word`, `a_payment_that_the_bank_has_accepted_is_not_cancelled_and_its_word_counts`, `p4_p6_a_worker_that_dies_while_it_takes_a_payment_back_still_tells_what_became_of_it`, `p4_p5_p6_a_payment_that_the_bank_forgot_when_it_was_taken_back_is_cancelled_whatever_became_of_the_answer` |
//! | 39 | amounts that are none | `an_order_that_cannot_be_paid_is_refused_with_the_field_that_is_wrong_and_leaves_no_row`, `anything_but_the_pattern_is_refused` |
//! | 40 | amounts as numbers | `an_order_that_cannot_be_paid_is_refused_with_the_field_that_is_wrong_and_leaves_no_row`, `decimals_the_currency_lacks_are_refused_and_not_rounded` |
//! | 41 | fees and exchange | there are none: nothing is divided or rounded; `what_is_written_reads_back` |
//! | 42 | limits with parallel requests | `an_order_that_is_sent_again_counts_towards_the_day_on_which_it_is_and_is_held_for_once`, `what_the_bank_may_still_pay_counts_towards_the_day_whatever_its_owner_was_told`, `of_payments_at_once_the_one_above_the_days_limit_is_refused_and_the_day_is_that_of_oslo`, `a_payment_keeps_to_one_krone_a_hundred_thousand_and_a_quarter_million_a_day` |
//! | 43 | currencies | `a_payment_in_another_currency_than_that_of_the_limits_is_refused`, `an_order_that_cannot_be_paid_is_refused_with_the_field_that_is_wrong_and_leaves_no_row` |
//! | 44 | to oneself | `an_order_that_cannot_be_paid_is_refused_with_the_field_that_is_wrong_and_leaves_no_row`, `a_payment_to_its_own_account_is_seen_whatever_the_spelling` |
//! | 45 | from an account that is not theirs, or ended | `an_order_that_cannot_be_paid_is_refused_with_the_field_that_is_wrong_and_leaves_no_row`, `nobody_pays_from_an_account_whose_consent_has_ended` |
//! | 46 | account numbers | `an_order_that_cannot_be_paid_is_refused_with_the_field_that_is_wrong_and_leaves_no_row`, `an_iban_that_is_not_one_is_refused`, `mod_97_alone_does_not_make_a_norwegian_iban`, `a_bban_that_is_not_one_is_refused` |
//! | 47 | texts | `an_order_that_cannot_be_paid_is_refused_with_the_field_that_is_wrong_and_leaves_no_row`, `what_banks_do_not_carry_is_refused`, `length_is_counted_in_the_characters_that_go_out`; there is no KID |
//! | 48 | the consent dies before the payment | `a_consent_that_is_dead_to_a_payment_is_deleted_and_its_owner_asked_to_link_again`, `a_consent_that_dies_behind_an_attempt_that_may_have_arrived_ends_no_payment`, `nobody_pays_from_an_account_whose_consent_has_ended` |
//! | 49 | no longer verified | `p9_whoever_is_no_longer_verified_pays_nothing_that_has_not_left`, `an_order_that_may_have_arrived_is_not_sent_again_for_a_user_who_may_not_pay_any_more` |
//! | 50 | the owner is gone | `a_payment_is_followed_to_its_end_although_its_owner_has_logged_out`, `a_payment_is_followed_to_its_end_although_its_owner_has_been_erased` |
//! | 51 | a cached balance that is too low | `of_payments_at_once_the_one_above_the_days_limit_is_refused_and_the_day_is_that_of_oslo` |
//! | 52 | what is held comes back | `a_definite_no_of_the_banks_ends_a_payment_and_nothing_is_asked_again`, `a_payment_that_the_bank_settles_after_its_time_for_approval_is_completed_and_its_owner_told`, `a_payment_is_taken_off_the_balance_once_before_and_after_the_bank_has_settled_it` |
//! | 53 | a circuit that opens meanwhile | `after_500_502_and_503_an_order_waits_for_the_circuit_and_goes_out_once_more_under_its_key`, `b6_payments_that_succeed_write_nothing_to_the_circuit`, `b6_ten_thousand_calls_that_succeed_and_as_many_refusals_write_nothing`, `b7_what_an_open_circuit_refuses_keeps_its_attempts_before_and_after_it_was_claimed`, `b3_in_two_hundred_half_open_rounds_one_of_eight_processes_may_probe` |
//! | 54 | clocks and days | `of_payments_at_once_the_one_above_the_days_limit_is_refused_and_the_day_is_that_of_oslo`, `the_day_turns_at_midnight_in_oslo`; no date of execution is asked for |
//! | 55 | an event before its applicant | `an_approval_that_comes_before_we_know_of_the_applicant_is_applied_when_it_appears` |
//! | 56 | the fifth unattended read | `a_fifth_unattended_read_within_24_hours_is_not_sent`, `no_window_ever_holds_a_fifth_read` |
//! | 57 | an attended read without an address | `whoever_has_just_come_back_from_the_bank_is_there_however_late_and_not_for_long`, `a_refresh_by_the_owner_carries_their_address_and_is_not_one_of_the_four` |
//! | 58 | a hundred without an access token | `a_hundred_calls_that_miss_together_cause_one_token_call`, `a_hundred_calls_that_waited_for_a_token_call_that_failed_make_no_further_one`, `a_token_is_kept_until_half_a_minute_before_its_end` |
//! | 59 | a redirect of the provider's | `an_order_is_reviewed_and_not_sent_again_when_the_banks_answer_cannot_be_had_or_read`, `a_token_endpoint_that_redirects_is_not_followed_with_code_and_secret` |
//! | 60 | an answer without an end | `an_order_is_reviewed_and_not_sent_again_when_the_banks_answer_cannot_be_had_or_read`, `a_body_over_the_cap_is_refused` |
//! | 61 | no database after the bank's 201 | `p1_p6_an_answer_to_a_commit_that_is_lost_costs_no_payment_and_lets_nothing_be_sent_twice`, `p1_p6_o2_a_server_that_crashes_while_the_bank_is_asked_loses_nothing_that_the_bank_says`, `the_banks_answer_is_kept_and_written_once_the_database_takes_it`, `p1_p6_an_id_of_the_banks_that_cannot_be_stored_in_time_is_told_and_the_payment_can_be_followed_by_it` |
//! | 62 | two that poll | `two_apis_and_three_workers_play_the_walk_through_without_a_double_effect`, `three_workers_claim_batches_and_run_each_job_once` |
//! | 63 | a notification that fails | it is a row of the payment's transaction, and a job of its own delivers it: `a_notification_is_handed_over_until_it_is_taken_and_the_status_does_not_wait_for_that`, `a_notification_without_a_job_is_found_and_delivered`, `p1_p4_p5_o1_a_connection_that_dies_in_any_write_of_a_payment_leaves_it_whole` |
//! | 64 | logs and errors | `a_run_at_the_most_talkative_setting_prints_nothing_secret_or_personal` |

mod answers;
mod circuit;
mod coming_back;
mod consents;
mod created;
mod keys;
mod orders;
mod people;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Every test of the workspace, by its name.
fn tests() -> BTreeSet<String> {
    let (mut names, mut folders) = (BTreeSet::new(), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("..")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let is_ours = path.file_name().is_some_and(|name| name != "target" && name != ".git");
            if path.is_dir() && is_ours {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                names.extend(tests_in(&fs::read_to_string(&path).unwrap()));
            }
        }
    }
    names
}

/// What stands below an attribute that makes a test of it, whatever other attributes come between.
fn tests_in(source: &str) -> Vec<String> {
    let (mut found, mut is_test) = (Vec::new(), false);
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[test") || line.starts_with("#[tokio::test") || line.starts_with("#[rstest") {
            is_test = true;
        } else if let Some((before, rest)) = line.split_once("fn ")
            && matches!(before, "" | "async ")
        {
            if is_test {
                found.extend(rest.split(['(', '<']).next().map(str::to_owned));
            }
            is_test = false;
        }
    }
    found
}

#[test]
fn the_table_has_every_case_and_names_only_tests_that_exist() {
    let tests = tests();
    let rows: Vec<(&str, &str)> = include_str!("mod.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "))
        .filter_map(|row| row.trim_end_matches(" |").split_once(" | "))
        .filter(|(case, _)| case.parse::<u32>().is_ok())
        .collect();
    let cases: Vec<u32> = rows.iter().map(|(case, _)| case.parse().unwrap()).collect();
    assert_eq!(cases, (1..=64).collect::<Vec<_>>());
    for (case, row) in rows {
        let named: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "case {case} names no test");
        for name in named {
            assert!(tests.contains(name), "case {case}: there is no test {name}");
        }
    }
}

#[test]
fn a_function_is_a_test_only_below_its_attribute() {
    let source = "#[rstest]\n#[case(1)]\n#[tokio::test]\nasync fn one(#[case] a: u8) {}\nfn two() {}\n  #[test]\n  fn three() {}";
    assert_eq!(tests_in(source), ["one", "three"]);
}
