//! The ways a consent moves on the bank's word or on its silence: the row, its audit entry and what its owner is told,
//! in the caller's transaction.

use drop_common::{
    domain::{consent::ConsentStatus, ids::ConsentId},
    queue::{JobError, Lease},
    storage::{
        StorageError, Tx,
        audit::{self, Actor, Entry},
        consents::{self, Consent},
        notifications::{self, Message},
    },
};
use serde_json::json;
use tracing::info;

/// The consent is now `status`. False: somebody else moved it first.
pub(super) async fn apply(
    tx: &mut Tx,
    lease: &Lease,
    actor: Actor,
    consent: &Consent,
    status: ConsentStatus,
) -> Result<bool, JobError> {
    if !consents::moved(tx, consent, status).await? {
        return Ok(false);
    }
    let entry = Entry {
        actor,
        user: Some(consent.user),
        action: "consent.moved",
        object: consent.id.to_string(),
        detail: json!({ "from": consent.status.as_str(), "to": status.as_str() }),
        request_id: lease.request_id(),
    };
    audit::record(tx, entry).await?;
    Ok(true)
}

/// Nobody looks any more how the consent stands.
pub(super) async fn abandon(tx: &mut Tx, consent: ConsentId) -> Result<(), StorageError> {
    let Some(user) = consents::abandon(tx, consent).await? else {
        return Ok(());
    };
    let entry = Entry {
        actor: Actor::Worker,
        user: Some(user),
        action: "consent.moved",
        object: consent.to_string(),
        detail: json!({ "from": ConsentStatus::Received.as_str(), "to": ConsentStatus::Expired.as_str() }),
        request_id: None,
    };
    audit::record(tx, entry).await
}

/// The bank takes the consent no longer (contract 3.2): it is deleted, its accounts are unlinked, and its owner is asked
/// to link the bank again. Of many reads that hear it, one does this.
pub(super) async fn bury(tx: &mut Tx, lease: &Lease, consent: ConsentId, code: Option<&str>) -> Result<(), JobError> {
    let Some(user) = consents::delete_dead(tx, consent).await? else {
        return Ok(());
    };
    let entry = Entry {
        actor: Actor::Provider,
        user: Some(user),
        action: "consent.deleted",
        object: consent.to_string(),
        detail: json!({ "code": code }),
        request_id: lease.request_id(),
    };
    audit::record(tx, entry).await?;
    let message = Message {
        user,
        kind: "consent",
        title: "Koble til banken på nytt",
        body: "Vi har ikke lenger tilgang til kontoen din i banken. Koble den til på nytt for å se saldoen.",
        subject: format!("{consent}:dead"),
    };
    notifications::tell(tx, message).await?;
    info!(consent.id = %consent, "consent {consent} is dead at the bank and was deleted");
    Ok(())
}
