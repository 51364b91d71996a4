//! What keeps a failing provider or a greedy caller from taking everything down: circuit breaker, backoff, rate limits.
//! Their state is in Postgres, so that it holds over all processes.

pub mod backoff;
pub mod bank_breaker;
pub mod breaker;
pub mod breaker_hand;
pub mod limits;
