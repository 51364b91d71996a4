//! Login with `BankID`, in a browser and in the app (contract 3.1).

mod callback;
mod cookies;
mod hand_out;
mod initiate;
mod location;
mod redeem;
mod returned;
mod wire;

use poem::Request;
use poem_openapi::{
    OpenApi,
    param::{Header, Path, Query},
    payload::Json,
};

pub use wire::{
    AppLogin, AppLoginStarted, LoggedIn, LoginAnswer, NewAppLogin, Redeemed, Redemption, ToBankId, UiLocale,
};

use crate::{error::ApiError, health::Chapter, prefer::Prefer, state::State};

/// The operations.
pub struct LoginsApi {
    state: State,
}

impl LoginsApi {
    /// The operations over the shared state.
    pub fn new(state: State) -> Self {
        Self { state }
    }
}

#[OpenApi(tag = "Chapter::Auth")]
impl LoginsApi {
    /// Send the browser to BankID.
    ///
    /// Sets the cookies `bankid_state` and, over HTTPS, `__Host-drop_bind`, which the callback needs; a login that is
    /// started in another tab replaces them. 10 requests in 60 s from one address, then `rate_limited`; an app's starts
    /// count with them. A page goes here by a link; one that embeds it, as an image or a frame, is `forbidden` and does not
    /// count. A browser (`Accept: text/html`) is shown a small page, in Norwegian or English, in place of a problem.
    #[oai(path = "/api/auth/bankid/login", method = "get", operation_id = "startBankIdLogin")]
    async fn login(
        &self,
        request: &Request,
        /// Where the browser goes after the login: the path of a page of this site, such as `/`. Which pages,
        /// `DROP_RETURN_PAGES` says; the API's own addresses are none.
        return_to: Query<Option<String>>,
        /// The language of BankID's pages; without it, BankID's own choice.
        ui_locales: Query<Option<UiLocale>>,
    ) -> Result<ToBankId, ApiError> {
        let return_to = return_to.0.as_deref();
        initiate::by_browser(&self.state, request, request.cookie(), return_to, ui_locales.0).await
    }

    /// Take the browser back from BankID.
    ///
    /// A browser (`Accept: text/html`) is sent on to where it wanted to go; an API caller gets the session as JSON.
    /// Needs the cookies of the same login: `bankid_state`, and in production `__Host-drop_bind`; elsewhere that one may
    /// be absent but not wrong. Without them nothing is used up, and the login can still be finished where it was started.
    /// While the check runs, a browser is shown a page that asks again by itself; a problem is a page for it, too.
    ///
    /// The person of an app's login is sent into the app, which needs none of the cookies: its code is redeemed there.
    /// `unauthenticated`: what Drop held of the person was erased meanwhile. 10 requests in 60 s from one address, then `rate_limited`.
    #[oai(
        path = "/api/auth/bankid/callback",
        method = "get",
        operation_id = "finishBankIdLogin"
    )]
    async fn callback(
        &self,
        request: &Request,
        /// BankID's one-time authorization code.
        #[oai(name = "code")]
        _code: Query<Option<String>>,
        /// The value this login was started with.
        #[oai(name = "state")]
        _state: Query<Option<String>>,
        /// BankID's error, in place of a code: `access_denied`, for example.
        #[oai(name = "error")]
        _error: Query<Option<String>>,
        /// The issuer's address (RFC 9207).
        #[oai(name = "iss")]
        _iss: Query<Option<String>>,
        /// How long to wait for the outcome (RFC 7240): `wait=N` seconds, or `respond-async`, which is not at all. The
        /// service's own limit, 10 to 15 s, holds without it and is never exceeded. What is not there by then is 202.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
    ) -> Result<LoginAnswer, ApiError> {
        let prefer = Prefer::parse(prefer.0.as_deref());
        callback::finish(&self.state, request, request.cookie(), prefer).await
    }

    /// Ask again for a login whose check took longer than the callback waited.
    ///
    /// Answers the browser that holds the login's cookies, once: without them there is no such login, and a session that
    /// was handed out already is `invalid_state`. For an app's login the app asks by redeeming its code.
    #[oai(
        path = "/api/auth/bankid/logins/:id",
        method = "get",
        operation_id = "getBankIdLogin"
    )]
    async fn outcome(
        &self,
        request: &Request,
        /// The login's id, `lgn_…`, from `Location`.
        id: Path<String>,
        /// How long to wait for the outcome (RFC 7240): `wait=N` seconds, or `respond-async`, which is not at all. The
        /// service's own limit, 10 to 15 s, holds without it and is never exceeded. What is not there by then is 202.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
    ) -> Result<LoginAnswer, ApiError> {
        let prefer = Prefer::parse(prefer.0.as_deref());
        hand_out::again(&self.state, request, request.cookie(), &id.0, prefer).await
    }

    /// Start a login in the app.
    ///
    /// The app makes a verifier, keeps it, and sends its challenge. It opens `authorizationUrl` in the system's browser,
    /// never in a web view. When the person is done there, the app's universal link is opened: with `login` and
    /// `login_code`, which the app redeems with its verifier within 60 s, or with `login` and `error`, the code of what
    /// ended the login (`bankid_cancelled`, `bankid_error`, `invalid_callback`). An app takes only the `login` that it
    /// started itself.
    ///
    /// 10 requests in 60 s from one address, then `rate_limited`; a browser's starts count with them. `not_found` where
    /// apps cannot log in.
    #[oai(path = "/v1/auth/bankid/logins", method = "post", operation_id = "startAppLogin")]
    async fn start_in_app(&self, request: &Request, body: Json<NewAppLogin>) -> Result<AppLoginStarted, ApiError> {
        initiate::by_app(&self.state, request, &body.0).await
    }

    /// Redeem an app's login.
    ///
    /// Waits for the check and gives the session's tokens, once. A wrong code, a wrong verifier, and a login that was
    /// redeemed, is too old, or is not an app's, are all `invalid_state`; a wrong one uses nothing up. After 202 the app
    /// sends the same again. If an answer with tokens is lost, the person logs in anew. `unauthenticated`: what Drop held of the
    /// person was erased meanwhile.
    ///
    /// 10 requests in 60 s from one address, then `rate_limited`.
    #[oai(
        path = "/v1/auth/bankid/logins/:id/redeem",
        method = "post",
        operation_id = "redeemAppLogin"
    )]
    async fn redeem(
        &self,
        request: &Request,
        /// The login's id, `lgn_…`, from the app's link.
        id: Path<String>,
        /// How long to wait for the outcome (RFC 7240): `wait=N` seconds, or `respond-async`, which is not at all. The
        /// service's own limit, 10 to 15 s, holds without it and is never exceeded. What is not there by then is 202.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        body: Json<Redemption>,
    ) -> Result<Redeemed, ApiError> {
        let prefer = Prefer::parse(prefer.0.as_deref());
        redeem::redeem(&self.state, request, request.cookie(), &id.0, body.0, prefer).await
    }
}
