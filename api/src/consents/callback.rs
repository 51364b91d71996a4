//! The return from the bank. It proves nothing: only what the bank says of the consent changes anything.

use drop_common::{
    domain::ids::ConsentId,
    queue::{self, Job, Lane, payloads::FetchAccounts},
    storage::{self, consents},
};
use poem::Request;
use poem_openapi::payload::Json;

use super::{CameBack, Returned};
use crate::{
    browser::{page_about, prefers_page},
    error::{ApiError, Code},
    rate_limit::CONSENT_CALLBACK,
    state::State,
};

pub(super) async fn finish(state: &State, request: &Request, id: &str, secret: &str) -> Result<Returned, ApiError> {
    CONSENT_CALLBACK.take_from_address(state, request).await?;
    let id: ConsentId = id.parse().map_err(|_| ApiError::of(Code::NotFound))?;
    let address = state.proxies.client_of(request).map(|address| address.to_string());
    let mut tx = storage::begin(&state.db).await?;
    let back = consents::came_back(&mut tx, id, secret, address.as_deref())
        .await?
        .ok_or(ApiError::of(Code::NotFound))?;
    // The one look that waits comes forward; a consent that has left the person's hands has none. In the transaction of
    // the return: a look that runs just now either sees it, or is waiting again by the time this looks for it.
    // A second return in a row may be the one that comes from the approval, so it is seen too, a little later.
    let look = id.to_string();
    if back.is_news {
        queue::hasten(&mut *tx, FetchAccounts::KIND, &look).await?;
    } else {
        queue::hasten_spaced(&mut *tx, FetchAccounts::KIND, &look, consents::LOOKS_APART).await?;
    }
    tx.commit().await?;
    state.wake.signal(Lane::BalanceUser);
    if let Some(page) = &state.settings.api.consent_result_url
        && prefers_page(request)
    {
        return Ok(Returned::GoOn(page_about(page, "consent", id)));
    }
    Ok(Returned::Shown(Json(CameBack {
        id: id.to_string(),
        status: back.status.as_str().to_owned(),
    })))
}
