//! The identity check (contract 3.4): starting it, and where it stands.

mod start;

use drop_common::{
    domain::kyc::KycStatus,
    storage::{
        kyc::{self, Applicant},
        users,
    },
};
use poem_openapi::{ApiResponse, Enum, Object, OpenApi, param::Header, payload::Json, types::Example};

use crate::{
    error::{ApiError, Code},
    health::Chapter,
    prefer::Prefer,
    session::Session,
    state::State,
    text::Text,
};

/// The operations.
pub struct KycApi {
    state: State,
}

impl KycApi {
    /// The operations over the shared state.
    pub fn new(state: State) -> Self {
        Self { state }
    }
}

/// Who is to be checked.
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
pub struct NewApplicant {
    /// Where Sumsub may write to.
    #[oai(validator(max_length = 254))]
    pub email: Text,
}

impl Example for NewApplicant {
    fn example() -> Self {
        Self {
            email: Text::from("anna@example.com".to_owned()),
        }
    }
}

/// Where the person is known to Sumsub.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub enum ApplicantState {
    /// Nobody asked for a check yet.
    None,
    /// Sumsub is being told.
    Requested,
    /// Sumsub knows the person.
    Created,
    /// Sumsub refused; asking again is possible.
    Failed,
}

/// What the person should do next.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub enum NextStep {
    /// Ask for the check.
    Start,
    /// Wait a moment.
    Wait,
    /// Go through the check in the app.
    Verify,
    /// Nothing.
    None,
}

/// Where the identity check stands.
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
pub struct Kyc {
    /// `pending`, `approved` or `rejected`.
    pub status: String,
    /// Whether Sumsub knows the person.
    pub applicant: ApplicantState,
    /// What the person should do next.
    pub next: NextStep,
}

impl Example for Kyc {
    fn example() -> Self {
        Self::of(KycStatus::Pending, ApplicantState::Created)
    }
}

impl Kyc {
    fn of(status: KycStatus, applicant: ApplicantState) -> Self {
        let next = match (status, applicant) {
            (KycStatus::Approved | KycStatus::Rejected, _) => NextStep::None,
            (KycStatus::Pending, ApplicantState::None | ApplicantState::Failed) => NextStep::Start,
            (KycStatus::Pending, ApplicantState::Requested) => NextStep::Wait,
            (KycStatus::Pending, ApplicantState::Created) => NextStep::Verify,
        };
        Self {
            status: status.as_str().to_owned(),
            applicant,
            next,
        }
    }
}

fn applicant_state(applicant: Option<&Applicant>) -> ApplicantState {
    match applicant {
        None => ApplicantState::None,
        Some(applicant) if applicant.applicant_id.is_some() => ApplicantState::Created,
        Some(applicant) if applicant.failed => ApplicantState::Failed,
        Some(_) => ApplicantState::Requested,
    }
}

/// The answer to a started check.
#[derive(ApiResponse)]
pub enum Started {
    /// Sumsub knows the person.
    #[oai(status = 201)]
    Created(Json<Kyc>),
    /// Sumsub is still being told: ask at `Location`.
    #[oai(status = 202)]
    StillAsking(
        Json<Kyc>,
        /// Where to ask.
        #[oai(header = "Location")]
        String,
    ),
}

#[OpenApi(tag = "Chapter::Kyc")]
impl KycApi {
    /// Start the identity check.
    ///
    /// Tells Sumsub about the person. Asking again changes nothing but the address. Where Sumsub refuses, the answer is
    /// `provider_error`, and asking again is possible.
    #[oai(path = "/v1/kyc/applicant", method = "post", operation_id = "startKyc")]
    async fn start(
        &self,
        session: Session,
        body: Json<NewApplicant>,
        /// `wait=N` seconds or `respond-async` (RFC 7240).
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
    ) -> Result<Started, ApiError> {
        start::start(
            &self.state,
            session.user.into(),
            body.0,
            Prefer::parse(prefer.0.as_deref()),
        )
        .await
    }

    /// Tell where the identity check stands.
    ///
    /// Sumsub reports by webhook, so the answer can change at any time.
    #[oai(path = "/v1/kyc", method = "get", operation_id = "getKyc")]
    async fn standing(&self, session: Session) -> Result<Json<Kyc>, ApiError> {
        let user = session.user.into();
        let found = users::find(&self.state.db, user)
            .await?
            .ok_or(ApiError::of(Code::Unauthenticated))?;
        let level = &self.state.settings.webhook.level;
        let applicant = kyc::applicant_of(&self.state.db, user, level).await?;
        Ok(Json(Kyc::of(found.kyc_status, applicant_state(applicant.as_ref()))))
    }
}
