//! Login with `BankID` in a browser (contract 3.1).

mod callback;
mod hand_out;
mod initiate;
mod wire;

use poem::Request;
use poem_openapi::{
    OpenApi,
    param::{Header, Path, Query},
};

pub use wire::{LoggedIn, LoginAnswer, ToBankId};

use crate::{error::ApiError, health::Chapter, prefer::Prefer, state::State};

/// The cookie that ties a callback to the browser that started the login (contract 3.1).
const STATE_COOKIE: &str = "bankid_state";

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
    /// Sets the cookie `bankid_state`, which the callback needs. 10 requests in 60 s from one address, then
    /// `rate_limited`.
    #[oai(path = "/api/auth/bankid/login", method = "get", operation_id = "startBankIdLogin")]
    async fn login(
        &self,
        request: &Request,
        /// Where the browser goes after the login: a path of this site.
        return_to: Query<Option<String>>,
    ) -> Result<ToBankId, ApiError> {
        initiate::start(&self.state, request, request.cookie(), return_to.0.as_deref()).await
    }

    /// Take the browser back from BankID.
    ///
    /// A browser (`Accept: text/html`) is sent on to where it wanted to go; an API caller gets the session as JSON.
    /// Needs the cookie `bankid_state` of the same login. 10 requests in 60 s from one address, then `rate_limited`.
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
        /// BankID's error, in place of a code.
        #[oai(name = "error")]
        _error: Query<Option<String>>,
        /// The issuer (RFC 9207).
        #[oai(name = "iss")]
        _iss: Query<Option<String>>,
        /// `wait=N` seconds or `respond-async` (RFC 7240).
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
    ) -> Result<LoginAnswer, ApiError> {
        let prefer = Prefer::parse(prefer.0.as_deref());
        callback::finish(&self.state, request, request.cookie(), prefer).await
    }

    /// Ask again for a login whose check took longer than the callback waited.
    ///
    /// Answers the browser that holds the login's `bankid_state` cookie, once: without it there is no such login, and a
    /// session that was handed out already is `invalid_state`.
    #[oai(path = "/v1/auth/bankid/logins/:id", method = "get", operation_id = "getBankIdLogin")]
    async fn outcome(
        &self,
        request: &Request,
        /// The login's id, from `Location`.
        id: Path<String>,
        /// `wait=N` seconds or `respond-async` (RFC 7240).
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
    ) -> Result<LoginAnswer, ApiError> {
        let prefer = Prefer::parse(prefer.0.as_deref());
        hand_out::again(&self.state, request, request.cookie(), &id.0, prefer).await
    }
}
