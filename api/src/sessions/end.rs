//! The end of sessions: a logout, one session, or all of them.

use drop_common::{
    domain::{
        ids::{SessionId, UserId},
        session::Channel,
    },
    keyring::sha256,
    storage::{
        self, Tx,
        audit::{self, Actor, Entry},
        sessions::{self, Presented, Revocation},
    },
};
use poem::{Request, web::cookie::CookieJar};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{grant::clear_cookies, refresh::presented, wire::RefreshToken};
use crate::{
    error::{ApiError, Code},
    layers::request_id,
    session::Session,
    state::State,
};

/// Ends the session that asks. Whatever proves it will do, because the access token may be over: nothing at all is a
/// person who is logged out already.
pub(super) async fn logout(
    state: &State,
    request: &Request,
    cookies: &CookieJar,
    body: RefreshToken,
) -> Result<(), ApiError> {
    let refresh = presented(request, body)?;
    let live = Session::if_live(request).await?;
    let mut tx = storage::begin(&state.db).await?;
    if let Some(session) = live {
        end(&mut tx, session.session.into(), session.user.into(), Revocation::Logout).await?;
    }
    if let Some((channel, token)) = refresh
        && let Some(found) = of_token(&mut tx, channel, &token).await?
    {
        end(&mut tx, found.session, found.user, Revocation::Logout).await?;
    }
    tx.commit().await?;
    clear_cookies(state, cookies);
    Ok(())
}

/// Ends one of the person's own sessions; anybody else's does not exist.
pub(super) async fn one(state: &State, cookies: &CookieJar, asking: Session, id: &str) -> Result<(), ApiError> {
    let id: SessionId = id.parse().map_err(|_| ApiError::of(Code::NotFound))?;
    let own = id.uuid() == asking.session;
    let because = if own {
        Revocation::Logout
    } else {
        Revocation::EndedByUser
    };
    let mut tx = storage::begin(&state.db).await?;
    if !end(&mut tx, id, asking.user.into(), because).await? {
        return Err(ApiError::of(Code::NotFound));
    }
    tx.commit().await?;
    if own {
        clear_cookies(state, cookies);
    }
    Ok(())
}

/// Ends all of the person's sessions, the one that asks too.
pub(super) async fn all(state: &State, cookies: &CookieJar, asking: Session) -> Result<(), ApiError> {
    let (user, because) = (asking.user.into(), Revocation::EndedByUser);
    let mut tx = storage::begin(&state.db).await?;
    for session in sessions::revoke_all(&mut tx, user, because).await? {
        record(&mut tx, session, user, because).await?;
    }
    tx.commit().await?;
    clear_cookies(state, cookies);
    Ok(())
}

async fn of_token(tx: &mut Tx, channel: Channel, token: &SecretString) -> Result<Option<Presented>, ApiError> {
    let found = sessions::present(tx, &sha256(token.expose_secret().as_bytes())).await?;
    Ok(found.filter(|found| found.channel == channel))
}

/// False where it is not theirs or over already.
pub(super) async fn end(tx: &mut Tx, session: SessionId, user: UserId, because: Revocation) -> Result<bool, ApiError> {
    let ended = sessions::revoke(tx, session, user, because).await?;
    if ended {
        record(tx, session, user, because).await?;
    }
    Ok(ended)
}

async fn record(tx: &mut Tx, session: SessionId, user: UserId, because: Revocation) -> Result<(), ApiError> {
    let entry = Entry {
        actor: Actor::User,
        user: Some(user),
        action: "session.revoked",
        object: session.to_string(),
        detail: json!({ "because": because.as_str() }),
        request_id: Some(request_id::current()),
    };
    Ok(audit::record(tx, entry).await?)
}
