//! The identity check (contract 3.4), from its start to what an operator sees of it.

mod bad_input;
mod checks;
mod comments;
mod daily_look;
mod exactly_once;
mod inbox;
mod intake;
mod left_behind;
mod lost_approval;
mod measures;
mod notifications;
mod operators;
mod orders;
mod outbound;
mod production;
mod reconciling;
mod rule;
mod scene;
mod sdk_token;
mod secrets;
mod signatures;
mod waiting;
