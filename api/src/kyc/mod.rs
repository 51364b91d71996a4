//! The identity check (contract 3.4): starting it, the token for Sumsub's SDK, and where it stands.

mod sdk_token;
mod start;

use drop_common::{
    domain::{
        ids::UserId,
        kyc::{Decision, KycStatus},
    },
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
    writer::Writer,
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
    /// Wait: Sumsub is being told, or is looking at it.
    Wait,
    /// Go through the check in the app, with a token of the SDK.
    Verify,
    /// The same once more: something of it was not good enough.
    Retry,
    /// Ask Drop's support; nothing in the app helps.
    Support,
    /// Nothing.
    None,
}

/// Where the identity check stands.
#[derive(Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub struct Kyc {
    /// `pending`, `approved` or `rejected`.
    pub status: String,
    /// Whether Sumsub knows the person.
    pub applicant: ApplicantState,
    /// What the person should do next.
    pub next: NextStep,
    /// Only with `retry`: what was not good enough, in Sumsub's words to the person. Plain text, at most 1000 characters; absent
    /// where Sumsub said nothing.
    pub comment: Option<Text>,
}

impl Example for Kyc {
    fn example() -> Self {
        Self {
            comment: Some(Text::from("The photo of your document is blurry.".to_owned())),
            ..Self::of(KycStatus::Pending, Known::Created(Some(Decision::Retry)))
        }
    }
}

/// What Sumsub knows of the person.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Nobody,
    Requested,
    Failed,
    /// With what it has said last.
    Created(Option<Decision>),
}

impl Known {
    fn of(applicant: Option<&Applicant>) -> Self {
        match applicant {
            None => Self::Nobody,
            Some(applicant) if applicant.applicant_id.is_some() => Self::Created(applicant.last_decision),
            Some(applicant) if applicant.failed => Self::Failed,
            Some(_) => Self::Requested,
        }
    }

    fn state(self) -> ApplicantState {
        match self {
            Self::Nobody => ApplicantState::None,
            Self::Requested => ApplicantState::Requested,
            Self::Failed => ApplicantState::Failed,
            Self::Created(_) => ApplicantState::Created,
        }
    }
}

impl Kyc {
    fn of(status: KycStatus, known: Known) -> Self {
        Self {
            status: status.as_str().to_owned(),
            applicant: known.state(),
            next: next_step(status, known),
            comment: None,
        }
    }

    /// With what Sumsub says to a person who must try again.
    async fn told(state: &State, user: UserId, status: KycStatus, known: Known) -> Result<Self, ApiError> {
        let mut standing = Self::of(status, known);
        if standing.next == NextStep::Retry {
            standing.comment = kyc::latest_comment(&mut *state.begin_for(user).await?, user)
                .await?
                .map(Text::from);
        }
        Ok(standing)
    }
}

fn next_step(status: KycStatus, known: Known) -> NextStep {
    match (status, known) {
        (KycStatus::Approved, _) => NextStep::None,
        (KycStatus::Rejected, _) | (KycStatus::Pending, Known::Created(Some(Decision::Suspend))) => NextStep::Support,
        (KycStatus::Pending, Known::Nobody | Known::Failed) => NextStep::Start,
        (KycStatus::Pending, Known::Requested | Known::Created(Some(Decision::Pending | Decision::Hold))) => {
            NextStep::Wait
        }
        (KycStatus::Pending, Known::Created(Some(Decision::Retry))) => NextStep::Retry,
        // A decision of another level's leaves the status to this one's.
        (
            KycStatus::Pending,
            Known::Created(None | Some(Decision::Reset | Decision::Approved | Decision::Rejected)),
        ) => NextStep::Verify,
    }
}

/// Lets the app run the check.
#[derive(Object)]
#[oai(rename_all = "camelCase", example)]
pub struct SdkToken {
    /// For Sumsub's SDK, of this person alone. Keep it in memory only; it lives for ten minutes.
    pub token: Text,
}

impl Example for SdkToken {
    fn example() -> Self {
        Self {
            token: Text::from("_act-sbx-jwt-eyJhbGciOi".to_owned()),
        }
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
        writer: Writer,
        body: Json<NewApplicant>,
        /// How long to wait for the outcome (RFC 7240): `wait=N` seconds, or `respond-async`, which is not at all. The
        /// service's own limit, 10 to 15 s, holds without it and is never exceeded. What is not there by then is 202.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
    ) -> Result<Started, ApiError> {
        start::start(
            &self.state,
            writer.session.user.into(),
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
        let applicant = kyc::applicant_of(&mut *self.state.begin_for(user).await?, user, level).await?;
        let known = Known::of(applicant.as_ref());
        Ok(Json(Kyc::told(&self.state, user, found.kyc_status, known).await?))
    }

    /// Get a token for the check in the app.
    ///
    /// Each call gives a new one, for Sumsub's SDK. `conflict`: the check was not started, or there is nothing to verify;
    /// `GET /v1/kyc` says what is next.
    #[oai(path = "/v1/kyc/sdk-token", method = "post", operation_id = "createKycSdkToken")]
    async fn sdk_token(&self, writer: Writer) -> Result<Json<SdkToken>, ApiError> {
        let token = sdk_token::create(&self.state, writer.session.user.into()).await?;
        Ok(Json(SdkToken { token }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_should_do_next_follows_from_the_status_and_the_last_word_of_sumsub() {
        let said = |decision| Known::Created(Some(decision));
        for (status, known, next) in [
            (KycStatus::Pending, Known::Nobody, NextStep::Start),
            (KycStatus::Pending, Known::Failed, NextStep::Start),
            (KycStatus::Pending, Known::Requested, NextStep::Wait),
            (KycStatus::Pending, Known::Created(None), NextStep::Verify),
            (KycStatus::Pending, said(Decision::Pending), NextStep::Wait),
            (KycStatus::Pending, said(Decision::Hold), NextStep::Wait),
            (KycStatus::Pending, said(Decision::Retry), NextStep::Retry),
            (KycStatus::Pending, said(Decision::Reset), NextStep::Verify),
            (KycStatus::Pending, said(Decision::Suspend), NextStep::Support),
            (KycStatus::Approved, said(Decision::Approved), NextStep::None),
            // Sumsub has deleted the applicant of somebody approved: nothing changes for them.
            (KycStatus::Approved, Known::Failed, NextStep::None),
            (KycStatus::Rejected, said(Decision::Rejected), NextStep::Support),
        ] {
            assert!(next_step(status, known) == next, "{status}");
        }
    }
}
