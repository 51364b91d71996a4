//! Asks the bank for a consent and keeps the link where the person approves it.

use std::{sync::Arc, time::Duration};

use drop_common::{
    alerts,
    domain::{age::today_in_oslo, consent::valid_until},
    providers::{
        Class,
        neonomics::{CallContext, Redirects, ScaLink},
    },
    queue::{
        AfterCommit, EnqueueOptions, Handler, JobError, Lease, Outcome, Verdict, enqueue_with,
        payloads::{FetchAccounts, StartConsent},
    },
    resilience::backoff,
    storage::{
        StorageError, Tx,
        consents::{self, Received},
    },
};
use secrecy::{ExposeSecret, SecretString};
use tracing::{info, warn};
use uuid::Uuid;

use super::{bank_trouble, consent_moves};
use crate::{bank_circuit::Admission, context::Context};

impl Handler<Context> for StartConsent {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let Some(consent) = consents::find(&ctx.db, &ctx.keys, self.consent).await? else {
            return Ok(Outcome::GiveUp("the consent is gone".into()).into());
        };
        let Some(state) = consents::callback_state(&ctx.db, &ctx.keys, self.consent).await? else {
            return Ok(Outcome::Done.into());
        };
        let pass = match ctx.admit_to(&consent.bank).await? {
            Admission::Go(pass) => pass,
            Admission::Wait(wait) => return Ok(Outcome::Wait(wait).into()),
        };
        let back = format!(
            "{}/api/consents/callback?consent={}&state={}",
            ctx.settings.worker.public_url,
            self.consent,
            state.expose_secret()
        );
        let call = CallContext {
            // New for every call (the standard wants it unique to the call), and found again from the row.
            request_id: Uuid::new_v5(&consent.request_id, &lease.attempt().to_be_bytes()),
            correlation_id: lease.request_id(),
            psu: ctx.psu(consent.psu_ip.as_deref()),
            now: ctx.clock.now(),
            not_after: Some(lease.deadline()),
        };
        let until = valid_until(today_in_oslo(ctx.clock.now()));
        let redirects = Redirects {
            success: &back,
            failure: Some(&back),
        };
        let answer = ctx.neonomics.create_consent(until, redirects, &call).await;
        ctx.report_read(&lease, pass, answer.as_ref().err()).await;

        let mut tx = lease.begin(&ctx.db).await?;
        if let Err(error) = &answer {
            warn!(consent.id = %self.consent, "the bank gave no consent for {}: {error}", self.consent);
            bank_trouble::tell_ops(&ctx, self.consent, error);
            bank_trouble::slow_down(&mut tx, &lease, error).await?;
        }
        let outcome = match answer {
            Ok(created) => {
                if let ScaLink::Redirect(link) = &created.sca {
                    let id = SecretString::from(created.id);
                    let received = Received {
                        consent_id: &id,
                        sca_redirect: link.as_str(),
                        valid_until: Some(until),
                    };
                    if consents::received(&mut tx, &ctx.keys, self.consent, received).await? {
                        consent_moves::received(&mut tx, &lease, consent.user, self.consent).await?;
                    }
                    // Looks at the bank on a timer, should the person never come back by the callback.
                    let options = EnqueueOptions {
                        delay: Duration::from_secs(10),
                        ..EnqueueOptions::caused_by(lease.request_id())
                    };
                    enqueue_with(&mut tx, &FetchAccounts { consent: self.consent }, options).await?;
                    info!(consent.id = %self.consent, "consent {} waits for the person's approval", self.consent);
                } else {
                    alerts::raise(&alerts::CONSENT_LINK, self.consent);
                    consent_moves::failed(&mut tx, lease.request_id(), self.consent, "no_link").await?;
                }
                Outcome::Done
            }
            Err(error) if error.class() == Class::Refused || error.class() == Class::Expired => {
                consent_moves::failed(&mut tx, lease.request_id(), self.consent, "refused").await?;
                Outcome::Done
            }
            Err(error) if matches!(error.class(), Class::Limited | Class::CircuitOpen) => {
                Outcome::Wait(bank_trouble::at_least(bank_trouble::pause(&error)))
            }
            // A consent that was asked for twice moves no money: the person approves the one they are shown.
            Err(_) => Outcome::Again(backoff::jittered(Duration::from_secs(2))),
        };
        let recorded = lease.finish(tx, outcome).await?;
        ctx.tell_waiters(self.consent.uuid()).await;
        Ok(recorded.into())
    }

    /// The bank never answered: the person may try again.
    async fn on_dead(&self, _context: &Context, tx: &mut Tx, _error: &str) -> Result<AfterCommit, StorageError> {
        consent_moves::failed(tx, None, self.consent, "no_answer").await?;
        Ok(AfterCommit::default())
    }
}
