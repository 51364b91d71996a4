//! Asks the bank where a consent stands and, once it is valid, links its accounts and reads their balances.

use std::{sync::Arc, time::Duration};

use drop_common::{
    domain::{account_number::AccountNumber, consent::ConsentStatus, ids::AccountId},
    providers::{
        ProviderError,
        neonomics::{Account, CallContext},
    },
    queue::{
        Handler, JobError, Lease, Outcome, Verdict, enqueue,
        payloads::{FetchAccounts, RefreshBalance},
    },
    resilience::{backoff, breaker::BreakerKey},
    storage::{
        StorageError, Tx,
        accounts::{self, Found},
        audit::{self, Actor, Entry},
        consents::{self, Consent},
    },
};
use secrecy::ExposeSecret;
use serde_json::json;
use tracing::{info, warn};
use uuid::Uuid;

use crate::context::Context;

/// How long a look waits for the person before the next.
const NEXT_LOOK: Duration = Duration::from_secs(10);

impl Handler<Context> for FetchAccounts {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let Some(consent) = consents::find(&ctx.db, &ctx.keys, self.consent).await? else {
            return Ok(Outcome::GiveUp("the consent is gone".into()).into());
        };
        if consent.status != ConsentStatus::Received {
            return Ok(Outcome::Done.into());
        }
        let looked = look(&ctx, &lease, &consent).await;
        ctx.report(&lease, BreakerKey::NeonomicsAisp, looked.as_ref().err())
            .await;
        let (status, found) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                warn!(consent.id = %self.consent, "the bank did not say how {} stands: {error}", self.consent);
                return Ok(Outcome::Wait(backoff::jittered(NEXT_LOOK)).into());
            }
        };
        let mut tx = lease.begin(&ctx.db).await?;
        if status == ConsentStatus::Received {
            return Ok(lease
                .finish(tx, Outcome::Wait(backoff::jittered(NEXT_LOOK)))
                .await?
                .into());
        }
        if consents::moved(&mut tx, &consent, status).await? {
            record(&mut tx, &consent, status, &lease).await?;
            for account in &found {
                link(&ctx, &mut tx, &consent, account).await?;
            }
        }
        let recorded = lease.finish(tx, Outcome::Done).await?;
        info!(consent.id = %self.consent, "consent {} is {}, {} accounts", self.consent, status.as_str(), found.len());
        ctx.tell_waiters(self.consent.uuid()).await;
        Ok(recorded.into())
    }
}

/// Where the consent stands and, if it is valid, what it opens.
async fn look(ctx: &Context, lease: &Lease, consent: &Consent) -> Result<(ConsentStatus, Vec<Account>), ProviderError> {
    let call = || CallContext {
        request_id: Uuid::new_v4(),
        correlation_id: lease.request_id(),
        psu: ctx.psu(consent.psu_ip.as_deref()),
        now: ctx.clock.now(),
    };
    let id = consent
        .consent_id
        .as_ref()
        .map(ExposeSecret::expose_secret)
        .unwrap_or_default();
    let word = ctx.neonomics.consent_status(id, &call()).await?.status;
    // A word we do not know means that nothing is decided yet.
    let status = ConsentStatus::from_provider(&word).unwrap_or(ConsentStatus::Received);
    let found = if status == ConsentStatus::Valid {
        ctx.neonomics.accounts(id, &call()).await?
    } else {
        Vec::new()
    };
    Ok((status, found))
}

/// Links one account and asks for its first balance, with the person's address: they are there.
async fn link(
    ctx: &Context,
    tx: &mut Tx,
    consent: &Consent,
    account: &Account,
) -> Result<Option<AccountId>, StorageError> {
    let number = account
        .iban
        .as_deref()
        .map(AccountNumber::iban)
        .or_else(|| account.bban.as_deref().map(AccountNumber::bban));
    let (Some(Ok(number)), Some(currency)) = (number, account.currency.as_deref()) else {
        warn!(consent.id = %consent.id, "an account of consent {} has no usable number or currency", consent.id);
        return Ok(None);
    };
    let found = Found {
        resource_id: &account.resource_id,
        number: &number,
        currency,
    };
    let linked = accounts::link(tx, &ctx.keys, consent.user, consent.id, &consent.bank, found).await?;
    let refresh = accounts::request_refresh(tx, consent.user, linked, consent.psu_ip.as_deref()).await?;
    enqueue(tx, &RefreshBalance { refresh }).await?;
    Ok(Some(linked))
}

async fn record(tx: &mut Tx, consent: &Consent, status: ConsentStatus, lease: &Lease) -> Result<(), StorageError> {
    let entry = Entry {
        actor: Actor::Provider,
        user: Some(consent.user),
        action: "consent.moved",
        object: consent.id.to_string(),
        detail: json!({ "from": consent.status.as_str(), "to": status.as_str() }),
        request_id: lease.request_id(),
    };
    audit::record(tx, entry).await
}
