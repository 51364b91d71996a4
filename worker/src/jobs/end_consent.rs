//! Ends a consent at the bank that is over here: its owner has unlinked it, or never approved it. Nothing uses it meanwhile.

use std::{sync::Arc, time::Duration};

use drop_common::{
    alerts,
    domain::{
        consent::{APPROVAL_LIFE, ConsentStatus},
        ids::ConsentId,
    },
    providers::{Class, ProviderError, neonomics::CallContext},
    queue::{AfterCommit, Handler, JobError, Lease, Outcome, Verdict, payloads::EndConsent},
    resilience::backoff,
    storage::{
        StorageError, Tx,
        audit::{self, Actor, Entry},
        consents, schedule,
    },
};
use secrecy::ExposeSecret;
use serde_json::json;
use tracing::{info, warn};
use uuid::Uuid;

use super::bank_trouble;
use crate::{bank_circuit::Admission, context::Context};

/// Between two tries: a bank that is away for some days is still told.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_hours(6);

impl Handler<Context> for EndConsent {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let consent = consents::find(&ctx.db, &ctx.keys, self.consent).await?;
        let Some(consent) = consent.filter(|one| matches!(one.status, ConsentStatus::Deleted | ConsentStatus::Expired))
        else {
            return Ok(Outcome::Done.into());
        };
        let Some(at_bank) = &consent.consent_id else {
            return Ok(Outcome::Done.into());
        };
        let pass = match ctx.admit_to(&consent.bank).await? {
            Admission::Go(pass) => pass,
            Admission::Wait(wait) => return Ok(Outcome::Wait(wait).into()),
        };
        let was_approved = consent.authorised_at.is_some();
        let ended = end(&ctx, &lease, at_bank.expose_secret(), was_approved).await;
        ctx.report_read(&lease, pass, ended.as_ref().err()).await;

        let now = schedule::now(&ctx.db).await?;
        let mut tx = lease.begin(&ctx.db).await?;
        let outcome = match &ended {
            Ok(AtBank::Ended) => {
                note_end(&mut tx, &lease, self.consent).await?;
                Outcome::Done
            }
            Ok(AtBank::Unapproved) => match (consent.created_at + APPROVAL_LIFE - now).to_std() {
                Ok(wait) if !wait.is_zero() => Outcome::Wait(bank_trouble::at_least(wait)),
                Ok(_) | Err(_) => {
                    note_end(&mut tx, &lease, self.consent).await?;
                    Outcome::Done
                }
            },
            Err(error) => {
                warn!(consent.id = %self.consent, "the bank has not ended consent {} yet: {error}", self.consent);
                bank_trouble::tell_ops(&ctx, self.consent, error);
                bank_trouble::slow_down(&mut tx, &lease, error).await?;
                again(error, &lease)
            }
        };
        Ok(lease.finish(tx, outcome).await?.into())
    }

    /// It ends with its last day; until then only the bank's side is open.
    async fn on_dead(&self, _context: &Context, _tx: &mut Tx, _error: &str) -> Result<AfterCommit, StorageError> {
        let (mut after, consent) = (AfterCommit::default(), self.consent);
        after.add(move || alerts::raise(&alerts::CONSENT_NOT_ENDED, consent));
        Ok(after)
    }
}

/// How the consent stands after our wish to end it.
enum AtBank {
    /// Nothing can be read with it any more.
    Ended,
    /// Nobody has approved it, and the bank ends none such. While somebody still may, it is asked again later.
    Unapproved,
}

/// Ends it. A bank that calls it invalid means that it is over, or that it never began: then its status says which. Where
/// that is called invalid too, what we have seen of it says which.
async fn end(ctx: &Context, lease: &Lease, at_bank: &str, was_approved: bool) -> Result<AtBank, ProviderError> {
    let call = || CallContext {
        request_id: Uuid::new_v4(),
        correlation_id: lease.request_id(),
        psu: None,
        now: ctx.clock.now(),
        not_after: Some(lease.deadline()),
    };
    let invalid = match ctx.neonomics.delete_consent(at_bank, &call()).await {
        Ok(()) => return Ok(AtBank::Ended),
        Err(error) if error.may_await_approval() => error,
        Err(error) => return Err(error),
    };
    let word = match ctx.neonomics.consent_status(at_bank, &call()).await {
        Ok(state) => state.status,
        Err(error) if error.class() != Class::Expired => return Err(error),
        Err(error) if was_approved || !error.may_await_approval() => return Ok(AtBank::Ended),
        Err(_) => return Ok(AtBank::Unapproved),
    };
    match ConsentStatus::from_provider(&word) {
        Some(ConsentStatus::Received) => Ok(AtBank::Unapproved),
        Some(status) if status != ConsentStatus::Valid => Ok(AtBank::Ended),
        // It may be used, and the bank ends it not: the two disagree.
        Some(_) | None => Err(invalid),
    }
}

async fn note_end(tx: &mut Tx, lease: &Lease, consent: ConsentId) -> Result<(), JobError> {
    if let Some(user) = consents::ended_at_the_bank(tx, consent).await? {
        let entry = Entry {
            actor: Actor::Provider,
            user: Some(user),
            action: "consent.ended_at_bank",
            object: consent.to_string(),
            detail: json!({}),
            request_id: lease.request_id(),
        };
        audit::record(tx, entry).await?;
        info!(consent.id = %consent, "the bank has ended consent {consent}");
    }
    Ok(())
}

fn again(error: &ProviderError, lease: &Lease) -> Outcome {
    match error.class() {
        Class::Limited | Class::CircuitOpen => Outcome::Wait(bank_trouble::at_least(bank_trouble::pause(error))),
        // Where it is us that are refused, the bank has not said anything about the consent.
        Class::Refused if !error.needs_ops() => Outcome::GiveUp("the bank does not end the consent".into()),
        Class::Refused | Class::NotSent | Class::Transient | Class::Ambiguous | Class::Expired => {
            let used = u32::try_from(lease.attempts_used()).unwrap_or(1);
            Outcome::Again(backoff::half_jitter(FIRST_PAUSE, used.saturating_sub(1), LONGEST_PAUSE))
        }
    }
}
