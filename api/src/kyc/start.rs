//! The wish for an identity check: the row, the sealed e-mail and the job in one transaction.

use drop_common::{
    domain::ids::UserId,
    queue::{self, EnqueueOptions, Lane, payloads::CreateApplicant},
    storage::{
        audit::{self, Actor, Entry},
        kyc, users,
    },
};
use poem_openapi::payload::Json;
use serde_json::json;
use tokio::time::Instant;

use super::{Known, Kyc, NewApplicant, Started};
use crate::{
    error::{ApiError, Code},
    layers::request_id,
    prefer::Prefer,
    state::State,
};

pub(super) async fn start(
    state: &State,
    user: UserId,
    body: NewApplicant,
    prefer: Prefer,
) -> Result<Started, ApiError> {
    if !is_address(&body.email) {
        return Err(ApiError::field("email", "is not an e-mail address"));
    }
    let level = &state.settings.webhook.level;
    let mut tx = state.begin_for(user).await?;
    let status = users::lock_kyc_status(&mut tx, user)
        .await?
        .ok_or(ApiError::of(Code::Unauthenticated))?;
    let (applicant, asked) = kyc::request_applicant(&mut tx, user, level).await?;
    if asked {
        let entry = Entry {
            actor: Actor::User,
            user: Some(user),
            action: "kyc.applicant_requested",
            object: user.to_string(),
            detail: json!({ "applicant": applicant.id.to_string() }),
            request_id: Some(request_id::current()),
        };
        audit::record(&mut tx, entry).await?;
    }
    let sealed = state
        .keys
        .seal("users.email_sealed", user.uuid(), body.email.as_bytes());
    users::set_email(&mut tx, user, &sealed).await?;
    if applicant.applicant_id.is_none() {
        let job = CreateApplicant {
            applicant: applicant.id,
            request: applicant.request_id,
        };
        let options = EnqueueOptions {
            request_id: Some(request_id::current()),
            ..EnqueueOptions::default()
        };
        queue::enqueue_with(&mut tx, &job, options).await?;
    }
    tx.commit().await?;
    state.wake.signal(Lane::KycCall);

    let deadline = Instant::now() + prefer.patience(state.longest_wait());
    let decided = state
        .waiters
        .wait_until(applicant.id.uuid(), deadline, || async {
            let applicant = kyc::applicant_of(&mut *state.begin_for(user).await?, user, level).await?;
            let known = Known::of(applicant.as_ref());
            Ok::<_, ApiError>((known != Known::Requested).then_some(known))
        })
        .await?;
    match decided {
        Some(known @ Known::Created(_)) => Ok(Started::Created(Json(Kyc::told(state, user, status, known).await?))),
        Some(Known::Nobody | Known::Requested | Known::Failed) => Err(ApiError::of(Code::ProviderError)),
        None => Ok(Started::StillAsking(
            Json(Kyc::of(status, Known::Requested)),
            "/v1/kyc".to_owned(),
        )),
    }
}

/// One `@` with something on both sides and nothing invisible: whether mail arrives there, only mail can tell.
fn is_address(text: &str) -> bool {
    let parts = text.split_once('@');
    parts.is_some_and(|(local, host)| !local.is_empty() && !host.is_empty() && !host.contains('@'))
        && text.chars().all(|c| !c.is_whitespace() && !c.is_control())
}
