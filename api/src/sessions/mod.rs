//! Sessions after the login: refreshing, listing and ending them, and the keys their access tokens are signed with.

mod end;
mod grant;
mod refresh;
mod wire;

use drop_common::storage::sessions;
use poem::Request;
use poem_openapi::{OpenApi, param::Path, payload::Json};

pub(crate) use grant::open;
pub use wire::{Ended, LiveSession, Published, RefreshToken, SessionList, SigningKey, SigningKeys, Tokens};

use crate::{
    error::ApiError, health::Chapter, rate_limit::SESSION_TOKENS, session::Session, state::State, writer::Writer,
};

/// Long enough to spare a fetch per request, short enough for a key to be known soon after it is published.
const KEYS_MAX_AGE: &str = "public, max-age=300";

/// The operations.
pub struct SessionsApi {
    state: State,
}

impl SessionsApi {
    /// The operations over the shared state.
    pub fn new(state: State) -> Self {
        Self { state }
    }
}

#[OpenApi(tag = "Chapter::Auth")]
impl SessionsApi {
    /// Refresh the session.
    ///
    /// Gives a new access token, and a new refresh token for the one that is used up. The app sends and gets it in JSON;
    /// a browser sends `{}` and has both as cookies. For ten seconds a used token gives the session's newest one,
    /// for tabs that refresh at once and for answers that were lost; after that its second use ends the whole session.
    ///
    /// 120 requests in 60 s from one address, then `rate_limited`; logouts count with them.
    #[oai(path = "/v1/auth/refresh", method = "post", operation_id = "refreshSession")]
    async fn refresh(&self, request: &Request, body: Json<RefreshToken>) -> Result<Json<Tokens>, ApiError> {
        SESSION_TOKENS.take_from_address(&self.state, request).await?;
        refresh::refresh(&self.state, request, request.cookie(), body.0)
            .await
            .map(Json)
    }

    /// Log out.
    ///
    /// Ends the session of the access token, of the refresh token, or of the browser's cookies, whichever is there. A
    /// session that is over already is no error. 120 requests in 60 s from one address, then `rate_limited`; refreshes count with
    /// them.
    #[oai(path = "/v1/auth/logout", method = "post", operation_id = "logout")]
    async fn logout(&self, request: &Request, body: Json<RefreshToken>) -> Result<Ended, ApiError> {
        SESSION_TOKENS.take_from_address(&self.state, request).await?;
        end::logout(&self.state, request, request.cookie(), body.0).await?;
        Ok(Ended::Done)
    }

    /// List the person's live sessions.
    ///
    /// One a device and login. What has ended, by logout or by time, is not among them.
    #[oai(path = "/v1/sessions", method = "get", operation_id = "listSessions")]
    async fn list(&self, session: Session) -> Result<Json<SessionList>, ApiError> {
        let listed = sessions::list(&self.state.db, session.user.into()).await?;
        let sessions = listed.into_iter();
        Ok(Json(SessionList {
            sessions: sessions
                .map(|listed| LiveSession::of(listed, session.session))
                .collect(),
        }))
    }

    /// Log out everywhere.
    ///
    /// Ends every session of the person, this one too.
    #[oai(path = "/v1/sessions", method = "delete", operation_id = "endSessions")]
    async fn end_all(&self, request: &Request, writer: Writer) -> Result<Ended, ApiError> {
        end::all(&self.state, request.cookie(), writer.session).await?;
        Ok(Ended::Done)
    }

    /// End one of the person's sessions.
    ///
    /// Acts at once, whatever the device still holds. A session of somebody else, or one that has ended, is `not_found`.
    #[oai(path = "/v1/sessions/:id", method = "delete", operation_id = "endSession")]
    async fn end_one(
        &self,
        request: &Request,
        writer: Writer,
        /// The session's id, `ses_…`.
        id: Path<String>,
    ) -> Result<Ended, ApiError> {
        end::one(&self.state, request.cookie(), writer.session, &id.0).await?;
        Ok(Ended::Done)
    }

    /// Give the public keys of access tokens.
    ///
    /// A JSON Web Key Set. During a change of keys it holds the next or the previous one as well. That a token is signed
    /// says who issued it; whether its session still lives, only this service can tell.
    #[expect(clippy::unused_async, reason = "the framework's operations are async")]
    #[oai(path = "/.well-known/jwks.json", method = "get", operation_id = "getSigningKeys")]
    async fn signing_keys(&self) -> Published {
        let keys = self.state.tokens.public_keys().map(SigningKey::of).collect();
        Published::Keys(Json(SigningKeys { keys }), KEYS_MAX_AGE.to_owned())
    }
}
