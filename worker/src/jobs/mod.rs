//! One file per kind of job.

mod apply_kyc_event;
mod check_login;
