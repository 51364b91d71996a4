//! What a new payment must pass.

use drop_common::{
    domain::{account_number::AccountNumber, ids::PaymentId, payment::PaymentOrder},
    queue::{self, Lane},
    storage::{
        Tx,
        payments::{Debtor, Standing},
    },
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
pub(super) async fn check(
    state: &State,
    tx: &mut Tx,
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
        Some(_) | None => capacity(tx, standing).await,
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

/// Whether the payment could be sent about now. Refused here, nothing was started and the key stays unused.
async fn capacity(tx: &mut Tx, standing: &Standing) -> Result<(), ApiError> {
    if standing.closed {
        return Err(ApiError::retry_after(Code::Overloaded, queue::CLOSED_RETRY));
    }
    ApiError::unless_admitted(queue::admit(&mut **tx, Lane::PaymentSend).await?)
}
