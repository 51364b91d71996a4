//! A new payment: every check, the row and the job in one transaction.

use std::time::Duration;

use drop_common::{
    domain::{
        ids::{PaymentId, UserId},
        kyc::KycStatus,
        payment::{OrderInput, PaymentOrder},
        payment_text::PaymentText,
    },
    failpoint,
    queue::{
        self, Admission, EnqueueOptions, Lane,
        payloads::{InitiatePayment, PollPayment},
    },
    storage::{
        Tx,
        audit::{self, Actor, Entry},
        payments::{self, ForgottenOrder, NewPayment, Payment},
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
    let request_ids = request_ids(user, key);
    let standing = payments::standing(&mut tx, &state.keys, user, key.as_str(), &request_ids, &order).await?;
    // The same key is the same payment, before every other check.
    if standing.key_is_used {
        drop(tx);
        let mut tx = state.begin_for(user).await?;
        let first = payments::by_client_key(&mut tx, user, key.as_str()).await?;
        drop(tx);
        return replay(state, first.ok_or(ApiError::of(Code::Internal))?, &order, prefer).await;
    }
    let confirmed = confirmed(body)?;
    // What the bank has, it has, whatever its person may do today.
    let at_bank = standing.forgotten.as_ref().filter(|_| standing.debtor.is_some());
    if at_bank.is_none() {
        if kyc != KycStatus::Approved {
            return Err(ApiError::of(Code::KycRequired));
        }
        check(state, &mut tx, &order, &standing, confirmed).await?;
    }
    failpoint!("pay.validated");
    let checked = Checked {
        user,
        key,
        order: &order,
        confirmed,
        repeats: standing.just_made,
        at_bank,
    };
    let id = store(state, &mut tx, request, checked).await?;
    failpoint!("pay.inserted");
    let lane = match at_bank {
        Some(order) => follow(&mut tx, user, id, order).await?,
        None => send(&mut tx, id).await?,
    };
    failpoint!("pay.commit_sent");
    let waiter = state.waiters.expect(id.uuid());
    tx.commit().await?;
    failpoint!("pay.committed");
    state.wake.signal(lane);
    first_answer(state, &waiter, user, id, prefer).await
}

/// An order that passed every check.
struct Checked<'a> {
    user: UserId,
    key: &'a IdempotencyKey,
    order: &'a PaymentOrder,
    /// The payment that the person says this one does not repeat.
    confirmed: Option<PaymentId>,
    /// The one that it does seem to repeat, and may.
    repeats: Option<PaymentId>,
    /// The order of it that the bank has and a restore has forgotten.
    at_bank: Option<&'a ForgottenOrder>,
}

/// The `X-Request-ID`s that a payment under this key goes by: the client's key where it is a UUID, else one that follows from
/// whose key it is, the last of the list, which nobody else's can be. So the same order is the same to the bank even where we have forgotten that it was made.
fn request_ids(user: UserId, key: &IdempotencyKey) -> Vec<Uuid> {
    let theirs = Uuid::try_parse(key.as_str()).ok();
    let own = Uuid::new_v5(&user.uuid(), key.as_str().as_bytes());
    theirs.into_iter().chain([own]).collect()
}

/// The bank is told within a bounded time or never.
async fn send(tx: &mut Tx, id: PaymentId) -> Result<Lane, ApiError> {
    let options = EnqueueOptions {
        expires_in: Some(payments::SEND_WITHIN),
        request_id: Some(request_id::current()),
        ..EnqueueOptions::default()
    };
    queue::enqueue_with(tx, &InitiatePayment { payment: id }, options).await?;
    Ok(Lane::PaymentSend)
}

/// The bank has it already, and is asked how it is doing. Its link is forgotten: its person has been there, or pays it no more.
async fn follow(tx: &mut Tx, user: UserId, id: PaymentId, order: &ForgottenOrder) -> Result<Lane, ApiError> {
    let entry = Entry {
        actor: Actor::User,
        user: Some(user),
        action: "payment.came_back",
        object: id.to_string(),
        detail: json!({ "payment_id": order.payment_id }),
        request_id: Some(request_id::current()),
    };
    audit::record(tx, entry).await?;
    let options = EnqueueOptions {
        request_id: Some(request_id::current()),
        ..EnqueueOptions::default()
    };
    queue::enqueue_with(tx, &PollPayment { payment: id }, options).await?;
    Ok(Lane::PaymentPoll)
}

/// Writes the row.
async fn store(state: &State, tx: &mut Tx, request: &Request, checked: Checked<'_>) -> Result<PaymentId, ApiError> {
    let Checked {
        user,
        key,
        order,
        confirmed,
        repeats,
        at_bank,
    } = checked;
    let (payee, amount) = (order.creditor_account(), order.amount());
    let id = PaymentId::new();
    let secret = state.keys.random_token();
    let address = state.proxies.client_of(request).map(|address| address.to_string());
    let products = &state.settings.payments.products;
    let product = products.product(amount.currency, payee.country());
    let new = NewPayment {
        id,
        user,
        account: order.debtor(),
        client_key: key.as_str(),
        idempotency_key: id.uuid(),
        fingerprint: *order.fingerprint().as_bytes(),
        amount: amount.minor,
        currency: amount.currency.code(),
        creditor_name: order.creditor_name().as_str(),
        creditor_account: payee,
        remittance_information: order.remittance().map(PaymentText::as_str).unwrap_or_default(),
        product,
        state: &secret,
        payment_id: at_bank.map(|order| order.payment_id.as_str()),
        psu_ip: address.as_deref(),
        psu_user_agent: request.header(header::USER_AGENT).filter(|agent| agent.len() <= 512),
        confirmed_duplicate_of: confirmed,
        repeats,
        request_id: request_id::current(),
    };
    // Another user's request with an equal key may commit at this moment, so the index is asked and no look before it. The last
    // one is nobody else's.
    let request_ids = match at_bank {
        Some(order) => vec![order.request_id],
        None => [request_ids(user, key), vec![Uuid::new_v5(&id.uuid(), b"X-Request-ID")]].concat(),
    };
    for idempotency_key in request_ids {
        if payments::insert(tx, &state.keys, NewPayment { idempotency_key, ..new }).await? {
            return Ok(id);
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
