//! The return from the bank. It proves nothing: only a status read from the bank moves the payment.

use drop_common::{
    domain::ids::{PaymentId, UserId},
    failpoint,
    queue::{self, Job, Lane, payloads::PollPayment},
    storage::{
        self,
        audit::{self, Actor, Entry},
        payments::{self, Named},
    },
};
use poem::Request;
use poem_openapi::payload::Json;
use serde_json::json;

use super::{CameBack, Returned, Standing, Transaction, look_soon};
use crate::{
    browser::{page_about, prefers_page},
    error::{ApiError, Code},
    layers::request_id,
    session::Session,
    state::State,
};

/// What the address holds that the person came back to.
pub(super) struct Query {
    pub(super) transaction: Option<String>,
    pub(super) state: Option<String>,
    pub(super) payment_id: Option<String>,
}

pub(super) async fn finish(state: &State, request: &Request, query: &Query) -> Result<CameBack, ApiError> {
    let unknown = || ApiError::of(Code::NotFound);
    let user: Option<UserId> = Session::if_live(request).await?.map(|session| session.user.into());
    let mut tx = storage::begin(&state.db).await?;
    let named = match (&query.transaction, &query.payment_id) {
        (Some(id), _) => {
            let id: PaymentId = id.parse().map_err(|_| unknown())?;
            payments::by_state(&mut tx, id, query.state.as_deref().unwrap_or_default()).await?
        }
        (None, Some(payment_id)) => {
            // The bank's id is no secret: by itself it is taken from the payment's owner only.
            let user = user.ok_or(ApiError::of(Code::Unauthenticated))?;
            let named = payments::by_bank(&mut tx, payment_id).await?;
            named.map(|named| Named {
                proven: named.owner == user,
                ..named
            })
        }
        (None, None) => None,
    };
    let Named { id, owner, proven } = named.ok_or_else(unknown)?;
    if !proven {
        audit::record(&mut tx, refusal(id, user)).await?;
        tx.commit().await?;
        return Err(unknown());
    }
    let noted = payments::came_back(&mut tx, id).await?;
    failpoint!("pay.callback_read");
    tx.commit().await?;
    failpoint!("pay.callback_stored");
    // After the commit: a poll that is running has by now either seen the new version, or it waits and comes forward.
    if noted {
        queue::hasten(&state.db, PollPayment::KIND, &id.to_string()).await?;
        state.wake.signal(Lane::PaymentPoll);
    } else {
        look_soon(state, id).await;
    }
    if prefers_page(request) {
        let page = &state.settings.api.payment_result_url;
        return Ok(CameBack::GoOn(page_about(page, "transaction", id)));
    }
    let payment = payments::find(&mut *state.begin_for(owner).await?, id).await?;
    let payment = payment.ok_or_else(unknown)?;
    Ok(CameBack::Shown(Json(if user == Some(owner) {
        Returned::Transaction(Transaction::of(payment)?)
    } else {
        Returned::Standing(Standing::of(&payment))
    })))
}

/// Somebody came back with a payment that is not theirs, or with a state that we never gave.
fn refusal(id: PaymentId, user: Option<UserId>) -> Entry<'static> {
    Entry {
        actor: Actor::User,
        user,
        action: "payment.callback_refused",
        object: id.to_string(),
        detail: json!({}),
        request_id: Some(request_id::current()),
    }
}
