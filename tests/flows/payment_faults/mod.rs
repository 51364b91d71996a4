//! Payments while processes die, the bank loses answers and the database goes away: never lost, never made twice, always
//! told truthfully. After every run the books are checked (`drop_tests::ledger`).
//!
//! A run has a payment of its own in a service that many runs share. A worker or an API is a process that ends itself at a
//! named point (`drop_common::failpoint`), or is killed from outside at a moment that only the other side can see; what
//! follows is done by the service itself, with the time of the queue moved on.

mod asking;
mod books;
mod cancelling;
mod database;
mod polling;
mod random;
pub(crate) mod scene;
mod sending;
mod stopping;
