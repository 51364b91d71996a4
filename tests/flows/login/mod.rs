//! Login with `BankID` (contract 3.1).

mod birthdays;
mod concurrency;
mod crashes;
mod errors;
mod gate;
mod identity;
mod limits;
mod negative;
mod scene;
mod secrecy;
mod sessions;
