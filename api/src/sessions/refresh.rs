//! A refresh: the token that comes is used up, and its successor goes back with a new access token.

use drop_common::{
    domain::session::Channel,
    keyring::sha256,
    storage::{
        self,
        sessions::{self, Presented, Revocation, Rotation, TokenStanding},
    },
};
use poem::{Request, web::cookie::CookieJar};
use secrecy::{ExposeSecret, SecretString};
use tracing::warn;

use super::{
    end::end,
    grant::Grant,
    wire::{RefreshToken, Tokens},
};
use crate::{
    error::{ApiError, Code},
    session::Sessions,
    state::State,
};

/// Binds the sealed copy of a successor to its place.
const SUCCESSOR: &str = "refresh_tokens.successor_sealed";

pub(super) async fn refresh(
    state: &State,
    request: &Request,
    cookies: &CookieJar,
    body: RefreshToken,
) -> Result<Tokens, ApiError> {
    let (channel, token) = presented(request, body)?.ok_or(ApiError::of(Code::Unauthenticated))?;
    // A refusal leaves the cookies: by the time that it arrives they may be those of a new login in another tab.
    let grant = take(state, channel, &token).await?;
    Ok(grant
        .ok_or(ApiError::of(Code::Unauthenticated))?
        .hand_out(state, cookies))
}

/// The refresh token and the channel it came by: the app's in the body, else the browser's cookie, which is believed
/// only from our own pages.
pub(super) fn presented(request: &Request, body: RefreshToken) -> Result<Option<(Channel, SecretString)>, ApiError> {
    if let Some(token) = body.refresh_token {
        return Ok(Some((Channel::Mobile, token.into_string().into())));
    }
    let cookie = Sessions::of(request).refresh_cookie(request)?;
    Ok(cookie.map(|token| (Channel::Web, token)))
}

/// Uses the token up. `None` where it opens nothing: unknown, of the other channel, of a session that is over, or used
/// before, which ends its session.
async fn take(state: &State, channel: Channel, token: &SecretString) -> Result<Option<Grant>, ApiError> {
    let token_hash = sha256(token.expose_secret().as_bytes());
    let mut tx = storage::begin(&state.db).await?;
    let Some(found) = sessions::present(&mut tx, &token_hash).await? else {
        return Ok(None);
    };
    if found.channel != channel {
        return Ok(None);
    }
    let Presented { session, user, .. } = found;
    let refresh = match found.token {
        TokenStanding::Unused => {
            let successor = state.keys.random_token();
            let text = successor.expose_secret().as_bytes();
            let rotation = Rotation {
                session,
                token_hash: &token_hash,
                successor_hash: &sha256(text),
                successor_sealed: &state.keys.seal(SUCCESSOR, session.uuid(), text),
                idle: state.settings.sessions.idle(channel),
            };
            sessions::rotate(&mut tx, rotation).await?;
            successor
        }
        TokenStanding::JustUsed(successor) => state
            .keys
            .open_text(SUCCESSOR, session.uuid(), &successor)
            .map_err(drop_common::storage::StorageError::corrupt)?,
        TokenStanding::Reused => {
            end(&mut tx, session, user, Revocation::RefreshTokenReused).await?;
            tx.commit().await?;
            warn!(session.id = %session, "a refresh token of session {session} came twice: the session is ended");
            return Ok(None);
        }
    };
    tx.commit().await?;
    Ok(Some(Grant {
        user,
        session,
        channel,
        refresh,
    }))
}
