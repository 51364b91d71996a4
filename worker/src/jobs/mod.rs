//! One file per kind of job.

mod apply_kyc_event;
mod at_bank;
mod balance_read;
mod bank_change;
mod cancel_payment;
mod check_login;
mod consent_days;
mod consent_moves;
mod create_applicant;
mod end_consent;
mod fetch_accounts;
mod initiate_payment;
mod intent;
mod kyc_about;
mod kyc_event;
mod kyc_moves;
pub(crate) mod payment_moves;
mod plan_balance_syncs;
mod poll_payment;
mod prune_jobs;
mod reconcile_payments;
mod refresh_balance;
mod start_authorisation;
mod start_consent;
mod sync_balance;
