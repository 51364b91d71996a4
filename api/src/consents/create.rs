//! The wish to link a bank: the row and its job in one transaction.

use drop_common::{
    domain::{consent::ConsentStatus, ids::UserId, kyc::KycStatus},
    queue::{self, EnqueueOptions, Lane, payloads::StartConsent},
    storage::{
        audit::{self, Actor, Entry},
        consents::{self, NewConsent},
        users,
    },
};
use poem::{Request, http::header};
use poem_openapi::payload::Json;
use serde_json::json;
use tokio::time::Instant;

use super::{BankConsent, Linking};
use crate::{
    error::{ApiError, Code},
    idempotency::IdempotencyKey,
    layers::request_id,
    prefer::Prefer,
    state::State,
};

/// The one bank connection there is: Neonomics shows the person its banks.
const BANK: &str = "neonomics";

pub(super) async fn create(
    state: &State,
    request: &Request,
    user: UserId,
    key: &IdempotencyKey,
    prefer: Prefer,
) -> Result<Linking, ApiError> {
    let address = state.proxies.client_of(request).map(|address| address.to_string());
    let agent = request.header(header::USER_AGENT).filter(|agent| agent.len() <= 512);
    let secret = state.keys.random_token();
    let mut tx = state.begin_for(user).await?;
    if users::lock_kyc_status(&mut tx, user).await? != Some(KycStatus::Approved) {
        return Err(ApiError::of(Code::KycRequired));
    }
    let new = NewConsent {
        user,
        bank: BANK,
        client_key: key.as_str(),
        state: &secret,
        psu_ip: address.as_deref(),
        psu_user_agent: agent,
    };
    let (id, made) = consents::request(&mut tx, &state.keys, new).await?;
    if made {
        let entry = Entry {
            actor: Actor::User,
            user: Some(user),
            action: "consent.requested",
            object: id.to_string(),
            detail: json!({ "bank": BANK }),
            request_id: Some(request_id::current()),
        };
        audit::record(&mut tx, entry).await?;
        let options = EnqueueOptions {
            request_id: Some(request_id::current()),
            ..EnqueueOptions::default()
        };
        queue::enqueue_with(&mut tx, &StartConsent { consent: id }, options).await?;
    }
    tx.commit().await?;
    state.wake.signal(Lane::BalanceUser);

    let deadline = Instant::now() + prefer.patience(state.longest_wait());
    let read = || async {
        let consent = consents::find(&mut *state.begin_for(user).await?, &state.keys, id)
            .await?
            .ok_or(ApiError::of(Code::NotFound))?;
        Ok::<_, ApiError>((consent.status != ConsentStatus::Requested).then_some(consent))
    };
    match state.waiters.wait_until(id.uuid(), deadline, read).await? {
        Some(consent) if consent.status == ConsentStatus::Failed => Err(ApiError::of(Code::ProviderError)),
        Some(consent) => Ok(Linking::Created(Json(BankConsent::of(consent)))),
        None => {
            let waiting = BankConsent {
                id: id.to_string(),
                status: ConsentStatus::Requested.as_str().to_owned(),
                sca_redirect: None,
                valid_until: None,
            };
            Ok(Linking::StillAsking(Json(waiting), format!("/v1/bank-consents/{id}")))
        }
    }
}
