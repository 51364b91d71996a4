//! What a person is given at login and at each refresh: a short access token and the refresh token behind it.

use drop_common::{
    domain::{
        ids::{SessionId, UserId},
        session::Channel,
    },
    keyring::sha256,
    session_token::ACCESS_TTL,
    storage::{
        self,
        logins::{self, ProvenLogin},
        sessions::{NewSession, Revocation},
        users::User,
    },
};
use poem::{
    Request,
    http::header,
    web::cookie::{Cookie, CookieJar, SameSite},
};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{end::end, wire::Tokens};
use crate::{
    error::{ApiError, Code},
    layers::request_id,
    session::{self, Sessions},
    state::State,
};

/// What a device calls itself is shown to its owner only; longer names tell no more.
const LONGEST_USER_AGENT: usize = 256;

/// A session with the refresh token that its person holds from now on.
pub(crate) struct Grant {
    pub(super) user: UserId,
    pub(super) session: SessionId,
    pub(super) channel: Channel,
    pub(super) refresh: SecretString,
}

/// Opens a session for the person whom `login` proved. A browser holds one: with the cookies of the one before, nobody could
/// end that any more but by waiting.
pub(crate) async fn open(
    state: &State,
    request: &Request,
    channel: Channel,
    login: ProvenLogin,
) -> Result<(User, Grant), ApiError> {
    let (id, refresh) = (SessionId::new(), state.keys.random_token());
    let (lives, user_agent) = (&state.settings.sessions, user_agent(request));
    let session = NewSession {
        id,
        channel,
        life: lives.life(channel),
        idle: lives.idle(channel),
        refresh_hash: &sha256(refresh.expose_secret().as_bytes()),
        user_agent: user_agent.as_deref(),
        request_id: request_id::current(),
    };
    let last = (channel == Channel::Web).then(|| Sessions::of(request).last_of_browser(request));
    let user = match last.flatten() {
        None => logins::hand_out(&state.db, login, session).await?,
        Some(last) => {
            let mut tx = storage::begin(&state.db).await?;
            let user = logins::hand_out(&mut *tx, login, session).await?;
            if user.is_some() {
                end(&mut tx, last.session.into(), last.user.into(), Revocation::Replaced).await?;
                tx.commit().await?;
            }
            user
        }
    };
    let Some(user) = user else {
        let erased = logins::is_erased(&state.db, login).await?;
        return Err(ApiError::of(if erased {
            Code::Unauthenticated
        } else {
            Code::InvalidState
        }));
    };
    let grant = Grant {
        user: user.id,
        session: id,
        channel,
        refresh,
    };
    Ok((user, grant))
}

impl Grant {
    /// Issues the access token and gives both to the channel: a browser gets cookies, and never a refresh token that a
    /// script could read; the app gets JSON. Only after the commit.
    pub(crate) fn hand_out(self, state: &State, cookies: &CookieJar) -> Tokens {
        let (user, session) = (self.user.uuid(), self.session.uuid());
        let access = state.tokens.issue(user, session, Uuid::now_v7(), state.clock.now());
        let refresh_token = match self.channel {
            Channel::Web => {
                let https = state.is_https();
                cookies.add(cookie(session::cookie_name(https), &access, SameSite::Lax, https));
                let name = session::refresh_cookie_name(https);
                cookies.add(cookie(name, &self.refresh, SameSite::Strict, https));
                None
            }
            Channel::Mobile => Some(self.refresh.expose_secret().to_owned()),
        };
        Tokens {
            access_token: access.expose_secret().to_owned(),
            refresh_token,
            token_type: "Bearer".to_owned(),
            expires_in: ACCESS_TTL.num_seconds(),
        }
    }
}

/// Takes both cookies away.
pub(super) fn clear_cookies(state: &State, cookies: &CookieJar) {
    let https = state.is_https();
    let nothing = SecretString::default();
    let names = [
        (session::cookie_name(https), SameSite::Lax),
        (session::refresh_cookie_name(https), SameSite::Strict),
    ];
    for (name, same_site) in names {
        let mut gone = cookie(name, &nothing, same_site, https);
        gone.set_max_age(std::time::Duration::ZERO);
        cookies.add(gone);
    }
}

// Without an age: a browser that is closed forgets the session.
fn cookie(name: &str, value: &SecretString, same_site: SameSite, https: bool) -> Cookie {
    let mut cookie = Cookie::new_with_str(name, value.expose_secret());
    cookie.set_http_only(true);
    cookie.set_secure(https);
    cookie.set_same_site(same_site);
    cookie.set_path("/");
    cookie
}

/// Visible ASCII only: the text goes to whoever lists the sessions.
fn user_agent(request: &Request) -> Option<String> {
    let text: String = request
        .header(header::USER_AGENT)?
        .chars()
        .filter(|letter| matches!(letter, ' '..='~'))
        .take(LONGEST_USER_AGENT)
        .collect();
    (!text.is_empty()).then_some(text)
}
