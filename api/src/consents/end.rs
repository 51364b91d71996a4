//! The wish to unlink a bank: the consent is over and its accounts are gone at once; the bank is told by a job.

use drop_common::{
    domain::{
        consent::ConsentStatus,
        ids::{ConsentId, UserId},
    },
    queue::{self, EnqueueOptions, Lane, payloads::EndConsent},
    storage::{
        audit::{self, Actor, Entry},
        consents::{self, Unlinking},
        users,
    },
};
use serde_json::json;

use crate::{
    error::{ApiError, Code},
    layers::request_id,
    state::State,
};

pub(super) async fn end(state: &State, user: UserId, id: ConsentId) -> Result<(), ApiError> {
    let mut tx = state.begin_for(user).await?;
    users::lock_kyc_status(&mut tx, user).await?;
    let was = match consents::end(&mut tx, user, id).await? {
        None => return Err(ApiError::of(Code::NotFound)),
        Some(Unlinking::WasOver) => return Ok(()),
        Some(Unlinking::Ended(was)) => was,
    };
    let entry = Entry {
        actor: Actor::User,
        user: Some(user),
        action: "consent.unlinked",
        object: id.to_string(),
        detail: json!({ "from": was.as_str() }),
        request_id: Some(request_id::current()),
    };
    audit::record(&mut tx, entry).await?;
    // One that has not reached the bank yet has nothing to end there: nobody is shown where to approve it.
    if was != ConsentStatus::Requested {
        let options = EnqueueOptions {
            request_id: Some(request_id::current()),
            ..EnqueueOptions::default()
        };
        queue::enqueue_with(&mut tx, &EndConsent { consent: id }, options).await?;
    }
    tx.commit().await?;
    state.wake.signal(Lane::BalanceUser);
    state.waiters.wake(id.uuid());
    Ok(())
}
