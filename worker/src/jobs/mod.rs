//! One file per kind of job.

mod apply_kyc_event;
mod check_login;
mod create_applicant;
mod fetch_accounts;
mod initiate_payment;
mod payment_moves;
mod poll_payment;
mod refresh_balance;
mod start_consent;
