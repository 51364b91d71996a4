//! Login with `BankID` (contract 3.1).

mod concurrency;
mod errors;
mod identity;
mod negative;
mod scene;
mod sessions;
