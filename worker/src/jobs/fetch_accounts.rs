//! Asks the bank where a consent stands and, once it is valid, links its accounts and reads their balances.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use drop_common::{
    domain::{
        account_number::AccountNumber,
        age::today_in_oslo,
        consent::{ConsentStatus, next_look},
        ids::AccountId,
    },
    providers::{
        Class, ProviderError,
        neonomics::{Account, CallContext},
    },
    queue::{
        Handler, Job as _, JobError, Lease, Outcome, Verdict, enqueue,
        payloads::{FetchAccounts, RefreshBalance},
    },
    resilience::{backoff, breaker::BreakerKey},
    storage::{
        StorageError, Tx,
        accounts::{self, Found},
        audit::Actor,
        balance_reads,
        consents::{self, Consent},
        schedule,
    },
};
use secrecy::ExposeSecret;
use tracing::{info, warn};
use uuid::Uuid;

use super::consent_moves;
use crate::context::Context;

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
        let now = schedule::now(&ctx.db).await?;
        let mut tx = lease.begin(&ctx.db).await?;
        let (status, found) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                warn!(consent.id = %self.consent, "the bank did not say how {} stands: {error}", self.consent);
                // Dead before it ever opened an account: there is nobody to tell that an access is gone.
                let status = match error.class() {
                    Class::Expired => ConsentStatus::Expired,
                    Class::NotSent
                    | Class::Transient
                    | Class::Refused
                    | Class::Limited
                    | Class::CircuitOpen
                    | Class::Ambiguous => ConsentStatus::Received,
                };
                (status, Vec::new())
            }
        };
        if status == ConsentStatus::Received {
            let outcome = wait_or_end(&mut tx, &lease, &consent, now).await?;
            return finish(&ctx, &lease, tx, &consent, outcome).await;
        }
        if consent_moves::apply(&mut tx, &lease, Actor::Provider, &consent, status).await? {
            for account in &found {
                link(&ctx, &mut tx, &consent, account).await?;
            }
        }
        info!(consent.id = %self.consent, "consent {} is {}, {} accounts", self.consent, status.as_str(), found.len());
        let recorded = finish(&ctx, &lease, tx, &consent, Outcome::Done).await?;
        ctx.wake.signal(RefreshBalance::LANE);
        Ok(recorded)
    }

    /// Nobody looks any more: the person may link anew.
    async fn on_dead(&self, _context: &Context, tx: &mut Tx, _error: &str) -> Result<(), StorageError> {
        consent_moves::abandon(tx, self.consent).await
    }
}

async fn finish(
    ctx: &Context,
    lease: &Lease,
    tx: Tx,
    consent: &Consent,
    outcome: Outcome,
) -> Result<Verdict, JobError> {
    let recorded = lease.finish(tx, outcome).await?;
    ctx.tell_waiters(consent.id.uuid()).await;
    Ok(recorded.into())
}

/// When to look again. After a day, or the consent's last day, nobody will approve it any more: it is over.
async fn wait_or_end(tx: &mut Tx, lease: &Lease, consent: &Consent, now: DateTime<Utc>) -> Result<Outcome, JobError> {
    let wait = next_look(now - consent.created_at).and_then(|wait| wait.to_std().ok());
    let over = consent.valid_until.is_some_and(|last| today_in_oslo(now) > last);
    if let Some(wait) = wait.filter(|_| !over) {
        return Ok(Outcome::Wait(backoff::jittered(wait)));
    }
    consent_moves::apply(tx, lease, Actor::Worker, consent, ConsentStatus::Expired).await?;
    info!(consent.id = %consent.id, "nobody approved consent {}", consent.id);
    Ok(Outcome::Done)
}

/// Where the consent stands and, if it is valid, what it opens.
async fn look(ctx: &Context, lease: &Lease, consent: &Consent) -> Result<(ConsentStatus, Vec<Account>), ProviderError> {
    let call = || CallContext {
        request_id: Uuid::new_v4(),
        correlation_id: lease.request_id(),
        psu: ctx.psu(consent.psu_ip.as_deref()),
        now: ctx.clock.now(),
        not_after: Some(lease.deadline()),
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
    let refresh = balance_reads::request_refresh(tx, consent.user, linked, consent.psu_ip.as_deref()).await?;
    enqueue(tx, &RefreshBalance { refresh }).await?;
    Ok(Some(linked))
}
