//! The return from the bank. It proves nothing: only what the bank says of the consent changes anything.

use drop_common::{
    domain::ids::ConsentId,
    queue::{self, EnqueueOptions, Lane, payloads::FetchAccounts},
    storage::consents,
};
use poem_openapi::payload::Json;

use super::CameBack;
use crate::{
    error::{ApiError, Code},
    layers::request_id,
    state::State,
};

pub(super) async fn finish(state: &State, id: &str, secret: &str) -> Result<Json<CameBack>, ApiError> {
    let id: ConsentId = id.parse().map_err(|_| ApiError::of(Code::NotFound))?;
    if !consents::state_matches(&state.db, id, secret).await? {
        return Err(ApiError::of(Code::NotFound));
    }
    let consent = consents::find(&state.db, &state.keys, id)
        .await?
        .ok_or(ApiError::of(Code::NotFound))?;
    let job = FetchAccounts { consent: id };
    // The worker looks at the bank on a timer too; of two looks the second finds nothing to do.
    let mut tx = state.db.begin().await?;
    let options = EnqueueOptions {
        request_id: Some(request_id::current()),
        ..EnqueueOptions::default()
    };
    queue::enqueue_with(&mut tx, &job, options).await?;
    tx.commit().await?;
    state.wake.signal(Lane::BalanceUser);
    Ok(Json(CameBack {
        id: id.to_string(),
        status: consent.status.as_str().to_owned(),
    }))
}
