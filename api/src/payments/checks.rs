//! What a new payment must pass.

use drop_common::{
    domain::{account_number::AccountNumber, ids::PaymentId, payment::PaymentOrder},
    storage::payments::{Debtor, Standing},
};
use secrecy::ExposeSecret;

use crate::{
    error::{ApiError, Code},
    state::State,
};

/// When to look at the first payment again after `possible_duplicate`, in seconds: its bank is asked about one of the last
/// quarter hour each minute.
const LOOK_AGAIN: u32 = 60;

/// Everything that depends on rows, under the user's lock: two payments of one user are checked one after the other.
pub(super) fn check(
    state: &State,
    order: &PaymentOrder,
    standing: &Standing,
    confirmed: Option<PaymentId>,
) -> Result<(), ApiError> {
    account(order, standing.debtor.as_ref())?;
    limits(state, order, standing.paid_today)?;
    match standing.lookalike {
        Some(first) if standing.lookalike != confirmed => {
            Err(ApiError::duplicate_of(super::location(first), LOOK_AGAIN))
        }
        // Refused here, nothing was started and the key stays unused.
        Some(_) | None => ApiError::unless_admitted(standing.admission),
    }
}

fn account(order: &PaymentOrder, debtor: Option<&Debtor>) -> Result<(), ApiError> {
    let debtor = debtor.ok_or(ApiError::of(Code::NotFound))?;
    let own = AccountNumber::iban(debtor.account.expose_secret()).map_err(|_| ApiError::of(Code::Internal))?;
    if order.pays_itself(&own) {
        return Err(ApiError::field("creditorAccount", "is the account that pays"));
    }
    if debtor.currency != order.amount().currency.code() {
        return Err(ApiError::field(
            "instructedAmount.currency",
            "is not the account's currency",
        ));
    }
    Ok(())
}

fn limits(state: &State, order: &PaymentOrder, paid_today: i64) -> Result<(), ApiError> {
    let currency = order.amount().currency;
    let Some(limits) = state.settings.payments.limits_in(currency) else {
        let why = "payments are not made in this currency";
        return Err(ApiError::field("instructedAmount.currency", why));
    };
    limits
        .check(order.amount(), paid_today)
        .map_err(|_broken| ApiError::of(Code::LimitExceeded))
}
