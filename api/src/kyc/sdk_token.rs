//! A token for Sumsub's SDK: a worker asks for it and seals it into a row, from which it is taken out once, here.

use std::time::Duration;

use drop_common::{
    domain::ids::UserId,
    queue::{self, EnqueueOptions, Lane, payloads::CreateSdkToken},
    storage::{
        StorageError, Tx, kyc,
        sdk_tokens::{self, Taken},
        users,
    },
};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::{Known, NextStep, next_step};
use crate::{
    error::{ApiError, Code},
    layers::request_id,
    state::State,
    text::Text,
};

pub(super) async fn create(state: &State, user: UserId) -> Result<Text, ApiError> {
    let level = &state.settings.webhook.level;
    let mut tx = state.begin_for(user).await?;
    let found = users::find(&mut *tx, user).await?;
    let status = found.ok_or(ApiError::of(Code::Unauthenticated))?.kyc_status;
    let applicant = kyc::applicant_of(&mut *tx, user, level).await?;
    match next_step(status, Known::of(applicant.as_ref())) {
        // The SDK shows somebody who waits how far the review is.
        NextStep::Verify | NextStep::Retry | NextStep::Wait if applicant.is_some() => {}
        _ => return Err(ApiError::of(Code::Conflict)),
    }
    can_be_asked(&mut tx).await?;
    let token = sdk_tokens::request(&mut tx, user, level).await?;
    let options = EnqueueOptions {
        request_id: Some(request_id::current()),
        expires_in: Some(state.longest_wait() + Duration::from_secs(1)),
        ..EnqueueOptions::default()
    };
    queue::enqueue_with(&mut tx, &CreateSdkToken { token }, options).await?;
    tx.commit().await?;
    state.wake.signal(Lane::KycCall);

    let deadline = Instant::now() + state.longest_wait();
    let take = || async {
        let mut tx = state.begin_for(user).await?;
        let taken = sdk_tokens::take(&mut tx, token).await?;
        tx.commit().await?;
        Ok::<_, ApiError>(taken)
    };
    match state.waiters.wait_until(token.uuid(), deadline, take).await? {
        Some(Taken::Token(sealed)) => {
            let opened = state.keys.open_text(sdk_tokens::COLUMN, token.uuid(), &sealed);
            let opened = opened.map_err(StorageError::corrupt)?;
            Ok(Text::from(opened.expose_secret().to_owned()))
        }
        Some(Taken::Nothing) => Err(ApiError::of(Code::ProviderError)),
        None => {
            let mut tx = state.begin_for(user).await?;
            sdk_tokens::abandon(&mut *tx, token).await?;
            tx.commit().await?;
            Err(ApiError::of(Code::ProviderError))
        }
    }
}

/// Somebody waits: where Sumsub is not called at present, or too many wait already, they are told at once.
async fn can_be_asked(tx: &mut Tx) -> Result<(), ApiError> {
    ApiError::unless_admitted(queue::admit(&mut **tx, Lane::KycCall).await?)
}
