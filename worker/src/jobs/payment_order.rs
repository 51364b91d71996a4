//! A payment as its bank is told of it: the exact bytes, whom the call names, and where the bank sends the person back to.

use std::time::Instant;

use drop_common::{
    domain::{
        account_number::Scheme,
        money::{Amount, Currency},
    },
    providers::{
        ProviderError,
        neonomics::{CallContext, Creditor, InitiatedPayment, PaymentOrder, PreparedPayment, Psu, Redirects},
    },
    queue::{JobError, Lease},
    storage::{
        StorageError,
        payments::{Payment, Wire},
    },
};
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::context::Context;

/// The bytes that leave, the same on every attempt.
pub(super) fn prepare(ctx: &Context, payment: &Payment, wire: &Wire) -> Result<PreparedPayment, JobError> {
    let currency: Currency = payment.currency.parse().map_err(StorageError::corrupt)?;
    let amount = Amount {
        minor: payment.amount,
        currency,
    }
    .to_decimal();
    let account = wire.creditor.expose_secret();
    let creditor = match payment.creditor_scheme {
        Scheme::Iban => Creditor::Iban(account),
        Scheme::Bban => Creditor::Bban(account),
    };
    Ok(ctx.neonomics.prepare(&PaymentOrder {
        debtor_iban: wire.debtor.expose_secret(),
        creditor,
        creditor_name: &payment.creditor_name,
        amount: &amount,
        currency: &payment.currency,
        remittance: Some(payment.remittance_information.as_str()).filter(|text| !text.is_empty()),
        product: &payment.product,
    }))
}

/// One attempt, under the key that every attempt carries (contract 3.3). Once the time to send is over, `not_after`, it does
/// not leave, whatever it has waited for.
pub(super) async fn send(
    ctx: &Context,
    lease: &Lease,
    payment: &Payment,
    wire: &Wire,
    prepared: &PreparedPayment,
    not_after: Instant,
) -> Result<InitiatedPayment, ProviderError> {
    let back = redirect(ctx, payment, wire);
    let redirects = Redirects {
        success: &back,
        failure: Some(&back),
    };
    let call = CallContext {
        not_after: Some(not_after),
        ..call(ctx, lease, payment, payment.idempotency_key)
    };
    let consent = ctx.settings.neonomics.payment_consent.as_ref();
    let consent = consent.map(ExposeSecret::expose_secret);
    ctx.neonomics.send(prepared, consent, redirects, &call).await
}

/// A call that the person's own request causes.
pub(super) fn call(ctx: &Context, lease: &Lease, payment: &Payment, request_id: Uuid) -> CallContext {
    let psu = ctx.psu(payment.psu_ip.as_deref()).map(|psu| Psu {
        user_agent: payment.psu_user_agent.clone(),
        ..psu
    });
    CallContext {
        request_id,
        correlation_id: lease.request_id(),
        psu,
        now: ctx.clock.now(),
        not_after: Some(lease.deadline()),
    }
}

/// Where the bank sends the person: the payment and a secret that only the bank and they hold.
pub(super) fn redirect(ctx: &Context, payment: &Payment, wire: &Wire) -> String {
    let state = wire.state.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
    format!(
        "{}/api/payments/callback?transaction={}&state={state}",
        ctx.settings.worker.public_url, payment.id
    )
}
