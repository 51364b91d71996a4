//! The ways a consent moves on the bank's word or on its silence: the row, its audit entry and what its owner is told,
//! in the caller's transaction.

use std::time::Duration;

use chrono::{NaiveDate, TimeDelta};
use drop_common::{
    domain::{
        consent::ConsentStatus,
        ids::{ConsentId, UserId},
    },
    queue::{
        EnqueueOptions, JobError, Lease, enqueue_with,
        payloads::{AskToLink, EndConsent},
    },
    storage::{
        StorageError, Tx, accounts,
        audit::{self, Actor, Entry},
        consents::{self, Consent},
        notifications::{self, Message},
        users,
    },
};
use serde_json::{Value, json};
use tracing::info;
use uuid::Uuid;

/// How long a person is taken to be linking who has come back from a bank with a consent that is not seen approved yet.
pub(super) const LINKING: Duration = Duration::from_mins(10);

/// So long after an approval a bank may still call the consent invalid.
pub(super) const APPROVAL_LAG: TimeDelta = TimeDelta::minutes(10);

/// The consent is now `status`, good until the day that the bank says. False: somebody else moved it first.
pub(super) async fn apply(
    tx: &mut Tx,
    lease: &Lease,
    actor: Actor,
    consent: &Consent,
    status: ConsentStatus,
    valid_until: Option<NaiveDate>,
) -> Result<bool, JobError> {
    if !consents::moved(tx, consent.id, status, valid_until).await? {
        return Ok(false);
    }
    let detail = moved(consent.status, status);
    audit(tx, actor, consent.user, consent.id, lease.request_id(), detail).await?;
    Ok(true)
}

/// The bank has the consent that was asked for; the person is to approve it.
pub(super) async fn received(tx: &mut Tx, lease: &Lease, user: UserId, consent: ConsentId) -> Result<(), JobError> {
    let detail = moved(ConsentStatus::Requested, ConsentStatus::Received);
    Ok(audit(tx, Actor::Provider, user, consent, lease.request_id(), detail).await?)
}

/// The consent call ended without a consent.
pub(super) async fn failed(
    tx: &mut Tx,
    request_id: Option<Uuid>,
    consent: ConsentId,
    why: &str,
) -> Result<(), StorageError> {
    let Some(user) = consents::failed(tx, consent, why).await? else {
        return Ok(());
    };
    let mut detail = moved(ConsentStatus::Requested, ConsentStatus::Failed);
    detail["why"] = why.into();
    audit(tx, Actor::Worker, user, consent, request_id, detail).await
}

/// The older consents from which the new one has taken accounts over end, and with them the accounts that it has not
/// taken. One that has nothing in common with it is of another bank: Neonomics stands before them all.
pub(super) async fn replace_older(
    tx: &mut Tx,
    lease: &Lease,
    new: &Consent,
    taken_from: &[ConsentId],
) -> Result<(), JobError> {
    consents::taken_over(tx, new, taken_from).await?;
    let older = consents::replace_older(tx, new, taken_from).await?;
    accounts::unlink(tx, &older).await?;
    for consent in older {
        let mut detail = moved(ConsentStatus::Valid, ConsentStatus::Replaced);
        detail["by"] = new.id.to_string().into();
        audit(tx, Actor::Worker, new.user, consent, lease.request_id(), detail).await?;
    }
    Ok(())
}

/// Nobody looks any more how the consent stands. At the bank it could still be approved: that is ended too.
pub(super) async fn abandon(tx: &mut Tx, request_id: Option<Uuid>, consent: ConsentId) -> Result<(), StorageError> {
    let Some(user) = consents::abandon(tx, consent).await? else {
        return Ok(());
    };
    let detail = moved(ConsentStatus::Received, ConsentStatus::Expired);
    audit(tx, Actor::Worker, user, consent, request_id, detail).await?;
    let options = EnqueueOptions {
        request_id,
        ..EnqueueOptions::default()
    };
    enqueue_with(tx, &EndConsent { consent }, options).await?;
    Ok(())
}

/// The bank takes the consent no longer (contract 3.2): it is deleted, its accounts are unlinked, and its owner is asked
/// to link the bank again. Where they are just linking one, the bank may have ended the old consent because the new one is
/// approved, which we may see later: then they are asked when that is over, if it is still needed. Of many calls that hear
/// it, one does this.
pub(super) async fn bury(
    tx: &mut Tx,
    lease: &Lease,
    actor: Actor,
    consent: ConsentId,
    code: Option<&str>,
) -> Result<(), JobError> {
    let Some(owner) = consents::owner(tx, consent).await? else {
        return Ok(());
    };
    // As when a consent is unlinked or becomes valid: the user first, then the consent, then its accounts.
    users::lock_kyc_status(tx, owner).await?;
    let Some(user) = consents::delete_dead(tx, consent).await? else {
        return Ok(());
    };
    let entry = Entry {
        actor,
        user: Some(user),
        action: "consent.deleted",
        object: consent.to_string(),
        detail: json!({ "code": code }),
        request_id: lease.request_id(),
    };
    audit::record(tx, entry).await?;
    info!(consent.id = %consent, "consent {consent} is dead and was deleted");
    if consents::is_linking(tx, user, LINKING).await? {
        let options = EnqueueOptions {
            delay: LINKING,
            request_id: lease.request_id(),
            ..EnqueueOptions::default()
        };
        enqueue_with(tx, &AskToLink { consent }, options).await?;
        return Ok(());
    }
    Ok(ask_to_link(tx, user, consent).await?)
}

/// Asks the owner of a dead consent to link the bank again, unless a newer one has taken its accounts over.
pub(super) async fn ask_to_link(tx: &mut Tx, user: UserId, consent: ConsentId) -> Result<(), StorageError> {
    if consents::is_taken_over(tx, consent).await? {
        return Ok(());
    }
    let message = Message {
        user,
        kind: "consent",
        title: "Koble til banken på nytt",
        body: "Vi har ikke lenger tilgang til kontoen din i banken. Koble den til på nytt for å se saldoen og betale.",
        subject: format!("{consent}:dead"),
    };
    notifications::tell(tx, message).await
}

/// Tells the owner of a consent that they have approved it and that nothing has come of it: the bank never showed its
/// accounts.
pub(super) async fn tell_of_no_accounts(tx: &mut Tx, consent: &Consent) -> Result<(), StorageError> {
    let message = Message {
        user: consent.user,
        kind: "consent",
        title: "Koble til banken på nytt",
        body: "Banken har ikke vist oss kontoene dine, selv om du godkjente det. Koble den til på nytt.",
        subject: format!("{}:unseen", consent.id),
    };
    notifications::tell(tx, message).await
}

fn moved(from: ConsentStatus, to: ConsentStatus) -> Value {
    json!({ "from": from.as_str(), "to": to.as_str() })
}

async fn audit(
    tx: &mut Tx,
    actor: Actor,
    user: UserId,
    consent: ConsentId,
    request_id: Option<Uuid>,
    detail: Value,
) -> Result<(), StorageError> {
    let entry = Entry {
        actor,
        user: Some(user),
        action: "consent.moved",
        object: consent.to_string(),
        detail,
        request_id,
    };
    audit::record(tx, entry).await
}
