//! The order of a bank that accepted ours with a change (ACWC): read once, stored for its person to see, and told to
//! operations where amount, currency or day are not those that were ordered.

use drop_common::{
    domain::{
        bank_order::{BankChange, BankOrder},
        bank_status::BankStatus,
        money::{Amount, Currency},
        payment_status::PaymentAlert,
    },
    providers::neonomics::OrderAtBank,
    queue::JobError,
    storage::{
        StorageError,
        payments::{self, Payment},
    },
};
use serde_json::json;
use tracing::warn;

use super::{at_bank::AtBank, payment_moves::Moving};

/// The bank's order, where it has said that it changed something and nobody has read it since; `None` also where it could
/// not be read: the next look tries again.
pub(super) async fn read(bank: &AtBank<'_>, payment: &Payment, code: Option<&str>) -> Option<BankOrder> {
    let says_so = code == Some(BankStatus::AcceptedWithChange.as_str());
    let unread = match payment.bank_change {
        Some(BankChange::Unread) => true,
        Some(BankChange::Same | BankChange::Differs) => false,
        None => says_so,
    };
    if !unread {
        return None;
    }
    let id = payment.id;
    match bank.order().await {
        Ok(order) => parse(&order).or_else(|| {
            warn!(payment.id = %id, "the bank's order of {id} is in no amount that we know");
            None
        }),
        Err(error) => {
            warn!(payment.id = %id, "the bank did not say what it changed about {id}: {error}");
            None
        }
    }
}

/// What is not exactly an amount is none.
fn parse(order: &OrderAtBank) -> Option<BankOrder> {
    let currency: Currency = order.currency.parse().ok()?;
    Some(BankOrder {
        amount: Amount::parse(&order.amount, currency).ok()?,
        execution_date: order.execution_date,
    })
}

/// Writes it. Where the bank has spoken its last word and would not say what it changed, somebody has to ask.
pub(super) async fn write(moving: &mut Moving<'_>, read: Option<&BankOrder>) -> Result<(), JobError> {
    let payment = &moving.payment;
    if payment.bank_change != Some(BankChange::Unread) {
        return Ok(());
    }
    let Some(order) = read else {
        if payment.state.bank_final {
            moving.alert(PaymentAlert::AcceptedWithChange.as_str());
        }
        return Ok(());
    };
    let currency: Currency = payment.currency.parse().map_err(StorageError::corrupt)?;
    let change = order.compared_with(Amount::new(payment.amount, currency), payment.may_be_sent_since());
    payments::set_bank_order(&mut moving.tx, payment.id, order, change).await?;
    moving
        .audit("payment.bank_order_read", json!({ "change": change.as_str() }))
        .await?;
    moving.reload().await?;
    if change == BankChange::Differs {
        moving.alert(PaymentAlert::AcceptedWithChange.as_str());
    }
    Ok(())
}
