//! A new payment: every check, the row and the job in one transaction.

use std::time::Duration;

use drop_common::{
    domain::{
        account_number::AccountNumber,
        ids::{PaymentId, UserId},
        kyc::KycStatus,
        payment::{OrderInput, PaymentOrder},
        payment_limits::PaymentLimits,
        payment_text::PaymentText,
    },
    queue::{self, EnqueueOptions, Lane, payloads::InitiatePayment},
    resilience::breaker::{self, Admission, BreakerKey},
    storage::{
        Tx, accounts,
        payments::{self, NewPayment, Payment},
        users,
    },
};
use poem::{Request, http::header};
use poem_openapi::payload::Json;
use secrecy::ExposeSecret;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Initiation, NewTransaction, Transaction};
use crate::{
    error::{ApiError, Code, FieldError},
    idempotency::IdempotencyKey,
    layers::request_id,
    prefer::Prefer,
    state::State,
};

/// How long a payment's first answer may take (payments-cases.md section 1).
const LONGEST_WAIT: Duration = Duration::from_secs(10);

pub(super) async fn create(
    state: &State,
    request: &Request,
    user: UserId,
    key: &IdempotencyKey,
    prefer: Prefer,
    body: &NewTransaction,
) -> Result<Initiation, ApiError> {
    let order = parse(body)?;
    if let Some(first) = payments::by_client_key(&state.db, user, key.as_str()).await? {
        return replay(state, first, &order, prefer).await;
    }
    let confirmed = body
        .confirm_duplicate_of
        .as_deref()
        .map(str::parse::<PaymentId>)
        .transpose();
    let confirmed = confirmed.map_err(|_| ApiError::field("confirmDuplicateOf", "is not a transaction's id"))?;
    let id = PaymentId::new();
    let mut tx = state.db.begin().await?;
    let kyc = users::lock_kyc_status(&mut tx, user).await?;
    // A request with the same key may have held the lock just now: that one comes before every other check.
    if payments::client_key_is_used(&mut tx, user, key.as_str()).await? {
        drop(tx);
        let first = payments::by_client_key(&state.db, user, key.as_str()).await?;
        return replay(state, first.ok_or(ApiError::of(Code::Internal))?, &order, prefer).await;
    }
    if kyc != Some(KycStatus::Approved) {
        return Err(ApiError::of(Code::KycRequired));
    }
    check(state, &mut tx, user, &order, confirmed).await?;

    let secret = state.keys.random_token();
    let address = state.proxies.client_of(request).map(|address| address.to_string());
    let new = NewPayment {
        id,
        user,
        account: order.debtor(),
        client_key: key.as_str(),
        idempotency_key: wire_key(&mut tx, key, id).await?,
        fingerprint: *order.fingerprint().as_bytes(),
        amount: order.amount().minor,
        currency: order.amount().currency.code(),
        creditor_name: order.creditor_name().as_str(),
        creditor_account: order.creditor_account(),
        remittance_information: order.remittance().map(PaymentText::as_str).unwrap_or_default(),
        product: &state.settings.payments.product,
        state: &secret,
        psu_ip: address.as_deref(),
        psu_user_agent: request.header(header::USER_AGENT).filter(|agent| agent.len() <= 512),
        confirmed_duplicate_of: confirmed,
    };
    // The lock has decided between two requests with one key; the unique index stands behind it.
    if !payments::insert(&mut tx, &state.keys, new).await? {
        return Err(ApiError::of(Code::Conflict));
    }
    let options = EnqueueOptions {
        expires_in: Some(payments::SEND_WITHIN),
        request_id: Some(request_id::current()),
        ..EnqueueOptions::default()
    };
    queue::enqueue_with(&mut tx, &InitiatePayment { payment: id }, options).await?;
    tx.commit().await?;
    state.wake.signal(Lane::PaymentSend);
    answer(state, id, prefer, None).await
}

/// Waits for the link or an end, for a bounded time. Money is never decided here.
async fn answer(
    state: &State,
    id: PaymentId,
    prefer: Prefer,
    replayed: Option<String>,
) -> Result<Initiation, ApiError> {
    let deadline = Instant::now() + prefer.patience(LONGEST_WAIT);
    let read = || async {
        let payment = payments::find(&state.db, id).await?;
        Ok::<_, ApiError>(payment.filter(|payment| payment.payment_id.is_some() || !payment.state.is_processing()))
    };
    if let Some(payment) = state.waiters.wait_until(id.uuid(), deadline, read).await? {
        return Ok(Initiation::Created(Json(Transaction::of(payment)?), replayed));
    }
    let location = format!("/v1/transactions/{id}");
    match breaker::admit(&state.db, BreakerKey::NeonomicsPisp).await? {
        Admission::Refused { retry_after } => Err(ApiError::circuit_open_at(location, retry_after)),
        Admission::Admitted => {
            let payment = payments::find(&state.db, id)
                .await?
                .ok_or(ApiError::of(Code::NotFound))?;
            Ok(Initiation::StillAsking(Json(Transaction::of(payment)?), location))
        }
    }
}

/// The same key with the same order is the same payment; with another order it is a mistake.
async fn replay(state: &State, first: Payment, order: &PaymentOrder, prefer: Prefer) -> Result<Initiation, ApiError> {
    if first.fingerprint != order.fingerprint().as_bytes() {
        return Err(ApiError::of(Code::IdempotencyKeyReused));
    }
    answer(state, first.id, prefer, Some("true".to_owned())).await
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

/// Everything that depends on rows, under the user's lock: two payments of one user are checked one after the other.
async fn check(
    state: &State,
    tx: &mut Tx,
    user: UserId,
    order: &PaymentOrder,
    confirmed: Option<PaymentId>,
) -> Result<(), ApiError> {
    let debtor = accounts::debtor(tx, &state.keys, user, order.debtor())
        .await?
        .ok_or(ApiError::of(Code::NotFound))?;
    let own = AccountNumber::iban(debtor.account.expose_secret()).map_err(|_| ApiError::of(Code::Internal))?;
    if order.pays_itself(&own) {
        return Err(ApiError::field("creditorAccount", "is the account that pays"));
    }
    let amount = order.amount();
    if debtor.currency != amount.currency.code() {
        return Err(ApiError::field(
            "instructedAmount.currency",
            "is not the account's currency",
        ));
    }
    let configured = &state.settings.payments;
    let limits = PaymentLimits {
        currency: amount.currency,
        min: configured.min_minor,
        max: configured.max_minor,
        daily: configured.daily_minor,
    };
    let paid = payments::total_today(tx, user, amount.currency.code()).await?;
    limits
        .check(amount, paid)
        .map_err(|_| ApiError::of(Code::LimitExceeded))?;
    let alike = payments::lookalike(tx, &state.keys, user, order.creditor_account(), amount.minor).await?;
    if alike.is_some() && alike != confirmed {
        return Err(ApiError::of(Code::PossibleDuplicate));
    }
    match breaker::admit(&mut **tx, BreakerKey::NeonomicsPisp).await? {
        Admission::Admitted => Ok(()),
        Admission::Refused { retry_after } => Err(ApiError::retry_after(Code::CircuitOpen, retry_after)),
    }
}

/// `X-Request-ID` of every attempt: the client's key where it is a UUID that nobody holds, else one of our own.
async fn wire_key(tx: &mut Tx, key: &IdempotencyKey, id: PaymentId) -> Result<Uuid, ApiError> {
    let own = Uuid::new_v5(&id.uuid(), b"X-Request-ID");
    match Uuid::try_parse(key.as_str()) {
        Ok(theirs) if !payments::idempotency_key_is_taken(tx, theirs).await? => Ok(theirs),
        Ok(_) | Err(_) => Ok(own),
    }
}
