//! Asks the bank where a consent stands and, once it is valid, links its accounts and reads their balances.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, NaiveDate, Utc};
use drop_common::{
    domain::{
        age::today_in_oslo,
        consent::{ConsentStatus, next_look},
        ids::ConsentId,
    },
    providers::{
        Class, ProviderError,
        neonomics::{Account, CallContext},
    },
    queue::{
        AfterCommit, Handler, Job as _, JobError, Lease, Outcome, Verdict,
        payloads::{FetchAccounts, RefreshBalance},
    },
    resilience::backoff,
    storage::{
        StorageError, Tx,
        audit::Actor,
        consents::{self, Consent},
        schedule, users,
    },
};
use secrecy::ExposeSecret;
use tracing::{info, warn};
use uuid::Uuid;

use super::{account_links, bank_trouble, consent_moves};
use crate::{bank_circuit::Admission, context::Context, recording};

/// The longest a look waits for the database, before jitter: the person waits for it.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Longer apart than three failures may be to open a circuit.
const AFTER_NONSENSE: Duration = Duration::from_mins(1);

impl Handler<Context> for FetchAccounts {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let ran = run(&ctx, &lease, self.consent).await;
        // Over a whole day errors add up. They must not end a consent that the person is still approving: time does.
        recording::wait_out(&lease, LONGEST_WAIT, ran)
    }

    /// Nobody looks any more: the person may link anew.
    async fn on_dead(&self, _context: &Context, tx: &mut Tx, _error: &str) -> Result<AfterCommit, StorageError> {
        consent_moves::abandon(tx, None, self.consent).await?;
        Ok(AfterCommit::default())
    }
}

async fn run(ctx: &Context, lease: &Lease, id: ConsentId) -> Result<Verdict, JobError> {
    let Some(consent) = consents::find(&ctx.db, &ctx.keys, id).await? else {
        return Ok(Outcome::GiveUp("the consent is gone".into()).into());
    };
    if consent.status != ConsentStatus::Received {
        return Ok(Outcome::Done.into());
    }
    // Before the circuit: whoever fails here has not taken its probe.
    let now = schedule::now(&ctx.db).await?;
    let pass = match ctx.admit_to(&consent.bank).await? {
        Admission::Go(pass) => pass,
        Admission::Wait(wait) => return Ok(Outcome::Wait(wait).into()),
    };
    let looked = look(ctx, lease, &consent).await;
    ctx.report_read(lease, pass, looked.as_ref().err().map(|failed| &failed.error))
        .await;
    let (seen, failed) = match looked {
        Ok(seen) => (seen, None),
        Err(failed) => {
            warn!(consent.id = %id, "the bank did not say how {id} stands: {}", failed.error);
            bank_trouble::tell_ops(ctx, id, &failed.error);
            (Seen::after(&failed), Some(failed))
        }
    };
    let mut tx = lease.begin(&ctx.db).await?;
    if seen.status == ConsentStatus::Received {
        if let Some(failed) = &failed {
            bank_trouble::slow_down(&mut tx, lease, &failed.error).await?;
        }
        let outcome = wait_or_end(&mut tx, lease, &consent, now, failed.as_ref()).await?;
        return finish(ctx, lease, tx, &consent, outcome).await;
    }
    // The bank may only not have seen the approval yet, and keep a consent that nobody here could end.
    if failed.is_some_and(|failed| failed.error.may_await_approval()) {
        consent_moves::abandon(&mut tx, lease.request_id(), id).await?;
        return finish(ctx, lease, tx, &consent, Outcome::Done).await;
    }
    // Of two consents of one person that become valid at once, the later one replaces the earlier.
    users::lock_kyc_status(&mut tx, consent.user).await?;
    let applied =
        consent_moves::apply(&mut tx, lease, Actor::Provider, &consent, seen.status, seen.valid_until).await?;
    if applied && seen.status == ConsentStatus::Valid {
        let taken_from = account_links::link_all(ctx, &mut tx, &consent, &seen.accounts, lease.request_id()).await?;
        consent_moves::replace_older(&mut tx, lease, &consent, &taken_from).await?;
    }
    let recorded = finish(ctx, lease, tx, &consent, Outcome::Done).await?;
    info!(consent.id = %id, "consent {id} is {}, {} accounts", seen.status.as_str(), seen.accounts.len());
    ctx.wake.signal(RefreshBalance::LANE);
    Ok(recorded)
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

/// When to look again: soon where the person came back while we looked, but never in a row, for they may come back again
/// and again. After a day, or the consent's last day, nobody will approve it any more: it is over. Where the bank says that
/// somebody has, and shows no account all the same, they are told that it has come to nothing.
async fn wait_or_end(
    tx: &mut Tx,
    lease: &Lease,
    consent: &Consent,
    now: DateTime<Utc>,
    failed: Option<&Failed>,
) -> Result<Outcome, JobError> {
    let pause = failed.and_then(|failed| pause(&failed.error));
    if consents::came_back_since(tx, consent.id, now).await? {
        return Ok(Outcome::Wait(pause.unwrap_or(consents::LOOKS_APART)));
    }
    let wait = next_look(now - consent.created_at).and_then(|wait| wait.to_std().ok());
    let over = consent.valid_until.is_some_and(|last| today_in_oslo(now) > last);
    if let Some(wait) = wait.filter(|_| !over) {
        return Ok(Outcome::Wait(backoff::jittered(wait).max(pause.unwrap_or_default())));
    }
    consent_moves::abandon(tx, lease.request_id(), consent.id).await?;
    if failed.is_some_and(Failed::is_lag) {
        consent_moves::tell_of_no_accounts(tx, consent).await?;
        warn!(consent.id = %consent.id, "the bank called consent {} valid and never showed its accounts", consent.id);
    } else {
        info!(consent.id = %consent.id, "nobody approved consent {}", consent.id);
    }
    Ok(Outcome::Done)
}

/// How long a failed look is not repeated, whoever waits. One that the bank answers in a way of its own fails the next time
/// too, and must not open the circuit for everybody else; one that it refuses is somebody's to look at first.
fn pause(error: &ProviderError) -> Option<Duration> {
    match error {
        ProviderError::Unreadable { .. } => Some(bank_trouble::at_least(AFTER_NONSENSE)),
        ProviderError::TooMany { .. } => Some(bank_trouble::at_least(bank_trouble::pause(error))),
        _ if error.needs_ops() => Some(bank_trouble::at_least(AFTER_NONSENSE)),
        _ => None,
    }
}

/// A look that brought an error.
struct Failed {
    error: ProviderError,
    /// The bank had called the consent valid within this very look.
    after_valid: bool,
}

impl Failed {
    /// Whether the bank lags behind the approval that it has just told us of.
    fn is_lag(&self) -> bool {
        self.after_valid && self.error.may_await_approval()
    }
}

/// Where the consent stands and, if it is valid, what it opens and until when.
struct Seen {
    status: ConsentStatus,
    valid_until: Option<NaiveDate>,
    accounts: Vec<Account>,
}

impl Seen {
    fn bare(status: ConsentStatus) -> Self {
        Self {
            status,
            valid_until: None,
            accounts: Vec::new(),
        }
    }

    fn after(failed: &Failed) -> Self {
        Self::bare(match failed.error.class() {
            Class::Expired if failed.is_lag() => ConsentStatus::Received,
            // Dead before it ever opened an account: there is nobody to tell that an access is gone.
            Class::Expired => ConsentStatus::Expired,
            Class::NotSent
            | Class::Transient
            | Class::Refused
            | Class::Limited
            | Class::CircuitOpen
            | Class::Ambiguous => ConsentStatus::Received,
        })
    }
}

async fn look(ctx: &Context, lease: &Lease, consent: &Consent) -> Result<Seen, Failed> {
    // Their address goes along only where their return from the bank brought this look: on the timer nobody is there.
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
    let failed = |after_valid| move |error| Failed { error, after_valid };
    let state = ctx.neonomics.consent_status(id, &call()).await.map_err(failed(false))?;
    // A word we do not know means that nothing is decided yet.
    let status = ConsentStatus::from_provider(&state.status).unwrap_or(ConsentStatus::Received);
    if status != ConsentStatus::Valid {
        return Ok(Seen::bare(status));
    }
    Ok(Seen {
        status,
        valid_until: ctx
            .neonomics
            .consent(id, &call())
            .await
            .map_err(failed(true))?
            .valid_until,
        accounts: ctx.neonomics.accounts(id, &call()).await.map_err(failed(true))?,
    })
}
