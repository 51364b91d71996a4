//! The sandbox over HTTP, as a client meets it.

mod bankid;
mod client;
mod control;
mod faults;
mod forgeries;
mod neonomics;
mod payments;
mod sumsub;
