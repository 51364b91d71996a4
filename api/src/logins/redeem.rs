//! The end of an app's login: the code that came back through the browser, and the verifier that never left the app.

use drop_common::{
    domain::{ids::LoginId, session::Channel},
    keyring::sha256,
    providers::bankid::code_challenge,
    storage::{
        self,
        logins::{self, Outcome, ProvenLogin},
    },
};
use poem::{Request, web::cookie::CookieJar};
use poem_openapi::payload::Json;
use secrecy::SecretString;

use super::{
    hand_out, location,
    wire::{Redeemed, Redemption},
};
use crate::{
    error::{ApiError, Code},
    prefer::Prefer,
    rate_limit::BANKID_REDEEM,
    state::State,
};

pub(super) async fn redeem(
    state: &State,
    request: &Request,
    jar: &CookieJar,
    id: &str,
    body: Redemption,
    prefer: Prefer,
) -> Result<Redeemed, ApiError> {
    let id: LoginId = id.parse().map_err(|_| ApiError::of(Code::NotFound))?;
    BANKID_REDEEM
        .take_from_address(state, request)
        .await
        .inspect_err(|refused| state.count_limited_login(refused))?;
    let login = prove(state, id, body)
        .await?
        .ok_or(ApiError::of(Code::InvalidState))
        .inspect_err(|_| state.count_lost_login("invalid_state"))?;
    match hand_out::wait(state, login, prefer).await?.map(|ended| ended.outcome) {
        None => Ok(Redeemed::StillChecking(location::of_redemption(id))),
        Some(Outcome::Refused(failure)) => Err(hand_out::refused(failure)),
        Some(Outcome::Granted { .. }) => hand_out::open_session(state, request, jar, login, Channel::Mobile)
            .await
            .map(|session| Redeemed::SignedIn(Json(session))),
    }
}

/// Both are compared by their hashes, in the database. Both have 256 bits, so wrong guesses need no counter; the limit of
/// the address is there for the database's sake.
async fn prove(state: &State, id: LoginId, body: Redemption) -> Result<Option<ProvenLogin>, ApiError> {
    let code_hash = sha256(body.login_code.as_bytes());
    let challenge = code_challenge(&SecretString::from(body.app_verifier.into_string()));
    let mut tx = storage::begin(&state.db).await?;
    let login = logins::proven_by_app(&mut tx, id, &code_hash, &challenge).await?;
    tx.commit().await?;
    Ok(login)
}
