//! The return from the bank. It proves nothing: only what the bank says of the consent changes anything.

use drop_common::{
    domain::ids::ConsentId,
    queue::{self, Job, Lane, payloads::FetchAccounts},
    storage::consents,
};
use poem_openapi::payload::Json;

use super::CameBack;
use crate::{
    error::{ApiError, Code},
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
    // The one look that waits comes forward; a consent that has left the person's hands has none.
    queue::hasten(&state.db, FetchAccounts::KIND, &id.to_string()).await?;
    state.wake.signal(Lane::BalanceUser);
    Ok(Json(CameBack {
        id: id.to_string(),
        status: consent.status.as_str().to_owned(),
    }))
}
