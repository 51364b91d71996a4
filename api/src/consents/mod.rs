//! Linking a bank: a consent to read the user's accounts (contract 3.2).

mod callback;
mod create;
mod end;

use drop_common::{
    domain::ids::ConsentId,
    storage::consents::{self, Consent},
};
use poem::Request;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Header, Path, Query},
    payload::Json,
    types::Example,
};

use crate::{
    error::{ApiError, Code},
    health::Chapter,
    idempotency::IdempotencyKey,
    prefer::Prefer,
    session::Session,
    state::State,
    writer::Writer,
};

/// Consents in one list: far more than anybody links.
pub(crate) const LISTED: i64 = 50;

/// The operations.
pub struct ConsentsApi {
    state: State,
}

impl ConsentsApi {
    /// The operations over the shared state.
    pub fn new(state: State) -> Self {
        Self { state }
    }
}

/// A consent to read the user's accounts at a bank.
#[derive(Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub struct BankConsent {
    /// The consent's id, `con_…`.
    pub id: String,
    /// `requested`, `received`, `valid`, `rejected`, `expired`, `revoked`, `terminated`, `replaced`, `failed` or `deleted`.
    pub status: String,
    /// Where the person approves it, while it waits for that.
    pub sca_redirect: Option<String>,
    /// The last day it can be used.
    pub valid_until: Option<String>,
}

impl Example for BankConsent {
    fn example() -> Self {
        Self {
            id: "con_0190a5a47c7e7d5ab8a1f2d3c4b5a697".into(),
            status: "received".into(),
            sca_redirect: Some("https://dnb.no/sca/consent/abc123".into()),
            valid_until: Some("2026-08-22".into()),
        }
    }
}

impl BankConsent {
    fn of(consent: Consent) -> Self {
        Self {
            id: consent.id.to_string(),
            status: consent.status.as_str().to_owned(),
            sca_redirect: consent.sca_redirect.filter(|_| consent.status.as_str() == "received"),
            valid_until: consent.valid_until.map(|day| day.to_string()),
        }
    }
}

/// A person's consents.
#[derive(Object)]
#[oai(example)]
pub struct BankConsents {
    /// The newest first.
    pub consents: Vec<BankConsent>,
}

impl Example for BankConsents {
    fn example() -> Self {
        Self {
            consents: vec![BankConsent::example()],
        }
    }
}

/// The answer to a request to unlink a bank.
#[derive(ApiResponse)]
pub enum Unlinked {
    /// The consent is over.
    #[oai(status = 204)]
    Done,
}

/// The answer to a request to link a bank.
#[derive(ApiResponse)]
pub enum Linking {
    /// The consent exists, whatever became of it: while it is `received`, send the person to `scaRedirect`.
    #[oai(status = 201)]
    Created(Json<BankConsent>),
    /// The bank is still being asked: look at `Location`.
    #[oai(status = 202)]
    StillAsking(
        Json<BankConsent>,
        /// Where to look.
        #[oai(header = "Location")]
        String,
    ),
}

#[OpenApi(tag = "Chapter::Accounts")]
impl ConsentsApi {
    /// Link a bank.
    ///
    /// Asks the bank for a consent. The same `Idempotency-Key` finds the first one. Where the bank gives no consent, the
    /// answer is `provider_error`, also to the same key again.
    #[oai(path = "/v1/bank-consents", method = "post", operation_id = "linkBank")]
    async fn link(
        &self,
        request: &Request,
        writer: Writer,
        /// The client's name for this intention.
        #[oai(name = "Idempotency-Key")]
        key: Header<IdempotencyKey>,
        /// How long to wait for the outcome (RFC 7240): `wait=N` seconds, or `respond-async`, which is not at all. The
        /// service's own limit, 10 to 15 s, holds without it and is never exceeded. What is not there by then is 202.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
    ) -> Result<Linking, ApiError> {
        let prefer = Prefer::parse(prefer.0.as_deref());
        create::create(&self.state, request, writer.session.user.into(), &key.0, prefer).await
    }

    /// List the person's consents.
    ///
    /// The newest 50, the newest first, also those that are over.
    #[oai(path = "/v1/bank-consents", method = "get", operation_id = "listBankConsents")]
    async fn list(&self, session: Session) -> Result<Json<BankConsents>, ApiError> {
        let user = session.user.into();
        let mut tx = self.state.begin_for(user).await?;
        let consents = consents::list(&mut *tx, &self.state.keys, user, LISTED).await?;
        Ok(Json(BankConsents {
            consents: consents.into_iter().map(BankConsent::of).collect(),
        }))
    }

    /// Show a consent.
    ///
    /// Its accounts can be read once it is `valid`.
    #[oai(path = "/v1/bank-consents/:id", method = "get", operation_id = "getBankConsent")]
    async fn show(
        &self,
        session: Session,
        /// The consent's id, `con_…`.
        id: Path<String>,
    ) -> Result<Json<BankConsent>, ApiError> {
        let id: ConsentId = id.0.parse().map_err(|_| ApiError::of(Code::NotFound))?;
        let user = session.user.into();
        let mut tx = self.state.begin_for(user).await?;
        let own = consents::find_own(&mut *tx, &self.state.keys, user, id).await?;
        Ok(Json(BankConsent::of(own.ok_or(ApiError::of(Code::NotFound))?)))
    }

    /// Unlink a bank.
    ///
    /// From here on nothing is read with the consent, and its accounts and their balances are gone; payments that are under
    /// way go on. The bank is told by itself. A consent that is over already stays as it is.
    #[oai(path = "/v1/bank-consents/:id", method = "delete", operation_id = "unlinkBank")]
    async fn unlink(
        &self,
        writer: Writer,
        /// The consent's id, `con_…`.
        id: Path<String>,
    ) -> Result<Unlinked, ApiError> {
        let id: ConsentId = id.0.parse().map_err(|_| ApiError::of(Code::NotFound))?;
        end::end(&self.state, writer.session.user.into(), id).await?;
        Ok(Unlinked::Done)
    }

    /// Take the person back from approving a consent.
    ///
    /// Decides nothing: it lets the bank be asked now. Safe to call any number of times; 60 requests in 60 s from one address,
    /// then `rate_limited`. A consent with another `state` is not found. A browser (`Accept: text/html`) is sent on to the page
    /// that shows the result, where the service was given one.
    #[oai(path = "/api/consents/callback", method = "get", operation_id = "finishBankConsent")]
    async fn callback(
        &self,
        request: &Request,
        /// The consent's id, `con_…`.
        consent: Query<String>,
        /// The value that went to the bank with the consent.
        #[oai(example = "a_state")]
        state: Query<String>,
    ) -> Result<Returned, ApiError> {
        callback::finish(&self.state, request, &consent.0, &state.0).await
    }
}

/// The answer to somebody who came back from the bank.
#[derive(ApiResponse)]
pub enum Returned {
    /// Where the consent stood.
    #[oai(status = 200)]
    Shown(Json<CameBack>),
    /// A browser is sent on to the page that shows the result.
    #[oai(status = 303)]
    GoOn(
        /// The page.
        #[oai(header = "Location")]
        String,
    ),
}

/// What the person sees who came back from the bank.
#[derive(Object)]
#[oai(example)]
pub struct CameBack {
    /// The consent's id, `con_…`.
    pub id: String,
    /// Where it stood when the person came back.
    pub status: String,
}

impl Example for CameBack {
    fn example() -> Self {
        Self {
            id: "con_0190a5a47c7e7d5ab8a1f2d3c4b5a697".into(),
            status: "received".into(),
        }
    }
}

fn a_state() -> String {
    "mJ3v0F5h2cYx8nQ1sT4uW7zA9bD6eG0iK2lO5pR8tVY".to_owned()
}
