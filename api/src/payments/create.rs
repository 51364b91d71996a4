//! A new payment: every check, the row and the job in one transaction.

use std::time::Duration;

use drop_common::{
    alerts,
    domain::{
        ids::{PaymentId, UserId},
        kyc::KycStatus,
        payment::{OrderInput, PaymentOrder},
        payment_text::PaymentText,
    },
    failpoint,
    queue::{
        self, Admission, EnqueueOptions, Lane, NewJob,
        payloads::{InitiatePayment, PollPayment},
    },
    storage::{
        Tx,
        audit::{self, Actor, Entry},
        payments::{self, AtBank, Forgotten, NewPayment, Payment, RequestIds, Standing},
        users,
    },
};
use poem::{Request, http::header};
use poem_openapi::payload::Json;
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Initiation, NewTransaction, Transaction, checks::check, location};
use crate::{
    error::{ApiError, Code, FieldError},
    idempotency::IdempotencyKey,
    layers::request_id,
    prefer::Prefer,
    session::Session,
    state::State,
    wait::Waiter,
};

/// How long a payment's first answer may take.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

pub(super) async fn create(
    state: &State,
    request: &Request,
    session: Session,
    key: &IdempotencyKey,
    prefer: Prefer,
    body: &NewTransaction,
) -> Result<Initiation, ApiError> {
    failpoint!("pay.read");
    let user = UserId::from(session.user);
    let order = parse(body)?;
    let mut tx = state.begin_for(user).await?;
    // The session may have been ended since it was looked at: after "log out everywhere" was answered, nothing is paid.
    let kyc = users::lock_payer(&mut tx, user, session.session.into()).await?;
    let kyc = kyc.ok_or(ApiError::of(Code::Unauthenticated))?;
    failpoint!("pay.begun");
    let request_ids = RequestIds::of(user, key.as_str());
    let standing = payments::standing(&mut tx, &state.keys, user, key.as_str(), request_ids, &order).await?;
    // The same key is the same payment, before every other check.
    if standing.key_is_used {
        drop(tx);
        let mut tx = state.begin_for(user).await?;
        let first = payments::by_client_key(&mut tx, user, key.as_str()).await?;
        drop(tx);
        return replay(state, first.ok_or(ApiError::of(Code::Internal))?, &order, prefer).await;
    }
    let confirmed = confirmed(body)?;
    let at_bank = at_bank(state, &standing)?;
    if at_bank.is_none() {
        if kyc != KycStatus::Approved {
            return Err(ApiError::of(Code::KycRequired));
        }
        check(state, &order, &standing, confirmed)?;
    }
    failpoint!("pay.validated");
    let id = PaymentId::new();
    let job = first_job(id, at_bank)?;
    let checked = Checked {
        id,
        user,
        key,
        request_ids,
        order: &order,
        confirmed,
        repeats: standing.just_made,
        at_bank,
        job: &job,
    };
    store(state, &mut tx, request, checked).await?;
    failpoint!("pay.inserted");
    if let Some(order) = at_bank {
        note_at_bank(&mut tx, user, id, order).await?;
    }
    failpoint!("pay.commit_sent");
    let waiter = state.waiters.expect(id.uuid());
    tx.commit().await?;
    failpoint!("pay.committed");
    state.wake.signal(job.lane());
    first_answer(state, &waiter, user, id, prefer).await
}

/// An order that passed every check.
struct Checked<'a> {
    id: PaymentId,
    user: UserId,
    key: &'a IdempotencyKey,
    request_ids: RequestIds,
    order: &'a PaymentOrder,
    /// The payment that the person says this one does not repeat.
    confirmed: Option<PaymentId>,
    /// The one that it does seem to repeat, and may.
    repeats: Option<PaymentId>,
    /// The order of it that the bank has and a restore has forgotten.
    at_bank: Option<AtBank<'a>>,
    job: &'a NewJob,
}

/// The order under this key that the bank has and a restore has forgotten. What the bank has, it has, whatever its person may do today.
fn at_bank<'a>(state: &State, standing: &'a Standing) -> Result<Option<AtBank<'a>>, ApiError> {
    match &standing.forgotten {
        None => Ok(None),
        Some(Forgotten::Same { request_id, payment_id }) => Ok(standing.debtor.as_ref().map(|_| AtBank {
            request_id: *request_id,
            payment_id,
            sca_timeout: state.settings.payments.sca_timeout,
        })),
        // Or the list that operations gave us is wrong, and its person makes the payment once more under another key.
        Some(Forgotten::Another { request_id }) => {
            alerts::raise(
                &alerts::PAYMENT,
                format_args!(
                    "X-Request-ID {request_id}, forgotten by a restore, is asked for with another amount or payee"
                ),
            );
            Err(ApiError::of(Code::IdempotencyKeyReused))
        }
        Some(Forgotten::Unclear) => Err(ApiError::of(Code::Conflict)),
    }
}

/// The bank is told within a bounded time or never. Where it has the payment already, it is asked how it is doing.
fn first_job(payment: PaymentId, at_bank: Option<AtBank<'_>>) -> Result<NewJob, ApiError> {
    let options = EnqueueOptions::caused_by(Some(request_id::current()));
    let in_time = EnqueueOptions {
        expires_in: Some(payments::SEND_WITHIN),
        ..options
    };
    Ok(match at_bank {
        Some(_) => NewJob::of(&PollPayment { payment }, options)?,
        None => NewJob::of(&InitiatePayment { payment }, in_time)?,
    })
}

/// The bank had it already. Its link is forgotten: its person has been there, or pays it no more.
async fn note_at_bank(tx: &mut Tx, user: UserId, id: PaymentId, order: AtBank<'_>) -> Result<(), ApiError> {
    let entry = Entry {
        actor: Actor::User,
        user: Some(user),
        action: "payment.came_back",
        object: id.to_string(),
        detail: json!({ "payment_id": order.payment_id }),
        request_id: Some(request_id::current()),
    };
    Ok(audit::record(tx, entry).await?)
}

/// Writes the row, and its first job.
async fn store(state: &State, tx: &mut Tx, request: &Request, checked: Checked<'_>) -> Result<(), ApiError> {
    let Checked {
        id,
        user,
        key,
        request_ids,
        order,
        confirmed,
        repeats,
        at_bank,
        job,
    } = checked;
    let (payee, amount) = (order.creditor_account(), order.amount());
    let secret = state.keys.random_token();
    let address = state.proxies.client_of(request).map(|address| address.to_string());
    let products = &state.settings.payments.products;
    let product = products.product(amount.currency, payee.country());
    let new = NewPayment {
        id,
        user,
        account: order.debtor(),
        client_key: key.as_str(),
        idempotency_key: request_ids.own,
        fingerprint: *order.fingerprint().as_bytes(),
        amount: amount.minor,
        currency: amount.currency.code(),
        creditor_name: order.creditor_name().as_str(),
        creditor_account: payee,
        remittance_information: order.remittance().map(PaymentText::as_str).unwrap_or_default(),
        product,
        state: &secret,
        at_bank,
        psu_ip: address.as_deref(),
        psu_user_agent: request.header(header::USER_AGENT).filter(|agent| agent.len() <= 512),
        confirmed_duplicate_of: confirmed,
        repeats,
        request_id: request_id::current(),
        job,
    };
    // Another user's request with an equal key may commit at this moment, so the index is asked and no look before it. The last
    // one is nobody else's.
    let goes_by = if let Some(order) = at_bank {
        vec![order.request_id]
    } else {
        let last = [request_ids.own, Uuid::new_v5(&id.uuid(), b"X-Request-ID")];
        request_ids.of_client.into_iter().chain(last).collect()
    };
    for idempotency_key in goes_by {
        if payments::insert(tx, &state.keys, NewPayment { idempotency_key, ..new }).await? {
            return Ok(());
        }
    }
    Err(ApiError::of(Code::Conflict))
}

/// Waits for the link or an end, for a bounded time. Money is never decided here.
async fn first_answer(
    state: &State,
    waiter: &Waiter<'_>,
    user: UserId,
    id: PaymentId,
    prefer: Prefer,
) -> Result<Initiation, ApiError> {
    let known = waiter.wait_until(deadline(prefer), || told(state, user, id)).await?;
    failpoint!("pay.answered");
    if let Some(payment) = known {
        let is_told = payment.is_answered() || !payment.state.is_processing();
        let shown = Json(Transaction::of(payment)?);
        return Ok(if is_told {
            Initiation::Created(shown, None)
        } else {
            Initiation::StillAsking(shown, location(id))
        });
    }
    match queue::admit(&state.db, Lane::PaymentSend).await? {
        Admission::CircuitOpen { retry_after } => Err(ApiError::circuit_open_at(location(id), retry_after)),
        Admission::Admitted | Admission::Overloaded { .. } => Ok(Initiation::StillAsking(
            Json(Transaction::of(present(state, user, id).await?)?),
            location(id),
        )),
    }
}

/// The same key with the same order is the same payment; with another order it is a mistake. The payment exists, so the
/// answer is 201 whatever became of it, and whether or not the bank is being called at present.
async fn replay(state: &State, first: Payment, order: &PaymentOrder, prefer: Prefer) -> Result<Initiation, ApiError> {
    if first.fingerprint != order.fingerprint().as_bytes() {
        return Err(ApiError::of(Code::IdempotencyKeyReused));
    }
    let (user, id) = (first.user, first.id);
    let read = || told(state, user, id);
    let payment = match state.waiters.wait_until(id.uuid(), deadline(prefer), read).await? {
        Some(payment) => payment,
        None => present(state, user, id).await?,
    };
    Ok(Initiation::Created(
        Json(Transaction::of(payment)?),
        Some("true".to_owned()),
    ))
}

fn deadline(prefer: Prefer) -> Instant {
    Instant::now() + prefer.patience(LONGEST_WAIT)
}

/// The payment once the bank has answered or it is over. Of one that a person looks at, nothing new comes within a request.
async fn told(state: &State, user: UserId, id: PaymentId) -> Result<Option<Payment>, ApiError> {
    let is_there = |payment: &Payment| payment.is_answered() || !payment.state.is_processing() || payment.needs_review;
    Ok(payments::find(&mut *state.begin_for(user).await?, id)
        .await?
        .filter(is_there))
}

async fn present(state: &State, user: UserId, id: PaymentId) -> Result<Payment, ApiError> {
    let payment = payments::find(&mut *state.begin_for(user).await?, id).await?;
    payment.ok_or(ApiError::of(Code::NotFound))
}

fn confirmed(body: &NewTransaction) -> Result<Option<PaymentId>, ApiError> {
    let id = body.confirm_duplicate_of.as_deref().map(str::parse).transpose();
    id.map_err(|_| ApiError::field("confirmDuplicateOf", "is not a transaction's id"))
}

fn parse(body: &NewTransaction) -> Result<PaymentOrder, ApiError> {
    let input = OrderInput {
        account: &body.account_id,
        amount: &body.instructed_amount.amount,
        currency: &body.instructed_amount.currency,
        creditor_name: &body.creditor_name,
        creditor_iban: body.creditor_account.iban.as_deref(),
        creditor_bban: body.creditor_account.bban.as_deref(),
        remittance: body.remittance_information.as_deref(),
    };
    PaymentOrder::parse(&input).map_err(|problems| {
        let errors = problems
            .into_iter()
            .map(|problem| FieldError::new(problem.field, problem.error.to_string()));
        ApiError::validation(errors.collect())
    })
}
