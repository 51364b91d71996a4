//! Parsed values and state machines. Nothing here does I/O, reads a clock or knows another module: a value that
//! exists is valid, and a transition is a function of its arguments.

pub mod account;
pub mod account_number;
pub mod age;
pub mod bank_order;
pub mod bank_status;
pub mod consent;
pub mod identity_hash;
pub mod ids;
pub mod kyc;
pub mod login;
pub mod money;
pub mod national_id;
pub mod payment;
pub mod payment_limits;
pub mod payment_schedule;
pub mod payment_status;
pub mod payment_text;
pub mod return_path;
pub mod session;
pub mod user;
pub mod words;
