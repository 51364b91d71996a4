//! One file per kind of job.

mod apply_kyc_event;
mod check_login;
mod create_applicant;
mod fetch_accounts;
mod refresh_balance;
mod start_consent;
