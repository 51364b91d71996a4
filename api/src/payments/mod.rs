//! Payments from a linked account (contract 3.3).

mod callback;
mod cancel;
mod checks;
mod create;
mod events;
mod wire;

use drop_common::{
    domain::{ids::PaymentId, payment_schedule::LOOKS_APART},
    queue::{self, Job as _, Lane, payloads::PollPayment},
    storage::payments,
};
use poem::Request;
use poem_openapi::{
    OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};

pub use wire::{
    CameBack, Cancelling, CreditorAccount, Events, Initiation, InstructedAmount, NewTransaction, Returned, Standing,
    Transaction, Transactions,
};

use crate::{
    error::{ApiError, Code},
    health::Chapter,
    idempotency::IdempotencyKey,
    prefer::Prefer,
    rate_limit::PAYMENT_CALLBACK,
    session::Session,
    state::State,
    writer::Writer,
};

/// The most transactions of one page.
pub(crate) const PAGE: i64 = 50;

/// Where a payment is shown.
fn location(id: PaymentId) -> String {
    format!("/v1/transactions/{id}")
}

/// Somebody looks at an open payment, so its bank is asked again, unless it was a moment ago. It is asked anyway, so a hint
/// that is lost is no reason not to show what is known.
async fn look_soon(state: &State, id: PaymentId) {
    match queue::hasten_spaced(&state.db, PollPayment::KIND, &id.to_string(), LOOKS_APART).await {
        Ok(true) => state.wake.signal(Lane::PaymentPoll),
        Ok(false) => {}
        Err(error) => tracing::warn!(%error, payment.id = %id, "the next look at {id} could not be brought forward"),
    }
}

/// The operations.
pub struct PaymentsApi {
    state: State,
}

impl PaymentsApi {
    /// The operations over the shared state.
    pub fn new(state: State) -> Self {
        Self { state }
    }
}

#[OpenApi(tag = "Chapter::Payments")]
impl PaymentsApi {
    /// Pay.
    ///
    /// Initiates a payment at the user's bank; send the person to `scaRedirect` to approve it. The same
    /// `Idempotency-Key` always answers with the same transaction, in its present state.
    ///
    /// - `not_found` means the account to pay from.
    /// - `limit_exceeded`: too small, too large, or too much for one day. A smaller amount, or the next day, may do.
    /// - `possible_duplicate`: an equal payment is under way. `confirmDuplicateOf` with its id, which `Location` ends with, pays twice.
    /// - `conflict`: the bank may have a payment under this key that the service has no record of. Ask the person to look at their
    ///   account before they pay under a new key.
    /// - `circuit_open` with `Location`: the payment was accepted and goes on later; without: nothing was started.
    #[oai(path = "/v1/transactions", method = "post", operation_id = "createTransaction")]
    async fn create(
        &self,
        request: &Request,
        writer: Writer,
        /// The client's name for this payment; never reuse it for another.
        #[oai(name = "Idempotency-Key")]
        key: Header<IdempotencyKey>,
        /// How long to wait for the outcome (RFC 7240): `wait=N` seconds, or `respond-async`, which is not at all. The
        /// service's own limit, 10 to 15 s, holds without it and is never exceeded. What is not there by then is 202.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        body: Json<NewTransaction>,
    ) -> Result<Initiation, ApiError> {
        let prefer = Prefer::parse(prefer.0.as_deref());
        create::create(&self.state, request, writer.session, &key.0, prefer, &body.0).await
    }

    /// List payments, newest first.
    ///
    /// At most 50 at a time; `before` asks for the next page, and a page with fewer is the last one.
    #[oai(path = "/v1/transactions", method = "get", operation_id = "listTransactions")]
    async fn list(
        &self,
        session: Session,
        /// Only payments older than this one, `tx_…`: the last id of the page before.
        before: Query<Option<String>>,
    ) -> Result<Json<Transactions>, ApiError> {
        let before: Option<PaymentId> = before
            .0
            .map(|id| id.parse())
            .transpose()
            .map_err(|_| ApiError::field("before", "is not a transaction's id"))?;
        let user = session.user.into();
        let page = payments::list(&mut *self.state.begin_for(user).await?, user, before, PAGE).await?;
        Ok(Json(Transactions {
            transactions: page.into_iter().map(Transaction::of).collect::<Result<_, _>>()?,
        }))
    }

    /// Show a payment.
    ///
    /// It can change until `bankFinal`. Until then a look at it lets its bank be asked again, at most every three seconds.
    #[oai(path = "/v1/transactions/:id", method = "get", operation_id = "getTransaction")]
    async fn show(
        &self,
        session: Session,
        /// The transaction's id, `tx_…`.
        id: Path<String>,
    ) -> Result<Json<Transaction>, ApiError> {
        let id: PaymentId = id.0.parse().map_err(|_| ApiError::of(Code::NotFound))?;
        let user = session.user.into();
        let own = payments::find_own(&mut *self.state.begin_for(user).await?, user, id).await?;
        let payment = own.ok_or(ApiError::of(Code::NotFound))?;
        if !payment.state.bank_final && payment.payment_id.is_some() {
            look_soon(&self.state, id).await;
        }
        Ok(Json(Transaction::of(payment)?))
    }

    /// Follow a payment.
    ///
    /// Server-sent events: the payment as it is now, and each time that it changes, until the bank's last word. The id of
    /// an event is the `version` it shows; a stream that comes back with `Last-Event-ID` is sent what it has not seen, and
    /// 204, which ends an `EventSource`, when there is nothing more to come. It ends with the session, and after ten
    /// minutes, as the access token does: come back with a fresh one.
    #[oai(
        path = "/v1/transactions/:id/events",
        method = "get",
        operation_id = "followTransaction"
    )]
    async fn events(
        &self,
        session: Session,
        /// The transaction's id, `tx_…`.
        id: Path<String>,
        /// The last `version` that was seen, such as `2`.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
    ) -> Result<Events, ApiError> {
        events::follow(&self.state, session, &id.0, last_event_id.0.as_deref()).await
    }

    /// Take a payment back.
    ///
    /// What has not left for the bank is cancelled at once. Otherwise the bank is asked, and has the word: `cancellation`
    /// says whether it cancelled the payment (`done`), does not do so any more (`refused`), or did not say
    /// (`unconfirmed`): then it may still be paid, and asking again is possible. A payment that is over is `conflict`; one
    /// that is cancelled already is shown.
    #[oai(
        path = "/v1/transactions/:id/cancel",
        method = "post",
        operation_id = "cancelTransaction"
    )]
    async fn cancel(
        &self,
        writer: Writer,
        /// The transaction's id, `tx_…`.
        id: Path<String>,
        /// How long to wait for the outcome (RFC 7240): `wait=N` seconds, or `respond-async`, which is not at all. The
        /// service's own limit, 10 to 15 s, holds without it and is never exceeded. What is not there by then is 202.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
    ) -> Result<Cancelling, ApiError> {
        let prefer = Prefer::parse(prefer.0.as_deref());
        cancel::cancel(&self.state, writer.session.user.into(), &id.0, prefer).await
    }

    /// Take the person back from approving a payment.
    ///
    /// Decides nothing: it lets the bank be asked now. Safe to call with anything, any number of times; 120 requests
    /// in 60 s from one address, then `rate_limited`. The payment is named by `transaction` and `state`, or by `paymentId` in
    /// a session of its owner; any other is not found. A browser (`Accept: text/html`) is sent on to the page that shows the
    /// result.
    #[oai(path = "/api/payments/callback", method = "get", operation_id = "finishPayment")]
    async fn callback(
        &self,
        request: &Request,
        /// The transaction's id, `tx_…`, from the address that the bank was given.
        transaction: Query<Option<String>>,
        /// The value that went to the bank with the payment.
        state: Query<Option<String>>,
        /// The bank's id of the payment.
        #[oai(name = "paymentId")]
        payment_id: Query<Option<String>>,
    ) -> Result<CameBack, ApiError> {
        PAYMENT_CALLBACK.take_from_address(&self.state, request).await?;
        let query = callback::Query {
            transaction: transaction.0,
            state: state.0,
            payment_id: payment_id.0,
        };
        callback::finish(&self.state, request, &query).await
    }
}
