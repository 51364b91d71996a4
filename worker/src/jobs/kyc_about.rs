//! Whom a Sumsub event is about.

use drop_common::{
    domain::ids::{UserId, WebhookEventId},
    queue::JobError,
    storage::{
        Tx,
        audit::{self, Actor, Entry},
        kyc::{self as storage_kyc, Erased, LockedStanding},
        webhooks::EventState,
    },
};
use serde_json::json;
use uuid::Uuid;

use super::{kyc_event::Event, kyc_moves::Fate};
use crate::context::Context;

pub(super) enum Recognised {
    Person(Box<About>),
    /// It is about somebody who was erased.
    Erased(Box<AboutErased>),
    /// It is about nobody whom it could change.
    Nobody(Fate),
}

/// Whom an event is about. Their row is locked.
pub(super) struct About {
    pub(super) event: Event,
    pub(super) user: UserId,
    pub(super) applicant_id: String,
    pub(super) locked: LockedStanding,
}

/// The same where they were erased. Their row is locked.
pub(super) struct AboutErased {
    pub(super) event: Event,
    pub(super) person: Erased,
}

pub(super) async fn recognise(ctx: &Context, tx: &mut Tx, raw: &[u8]) -> Result<Recognised, JobError> {
    let nobody = |fate| Ok(Recognised::Nobody(fate));
    let level = &ctx.settings.sumsub.level;
    let Ok(event) = Event::read(raw) else {
        let alert = "a signed event has a member of an unexpected type";
        return nobody(Fate::alerting(EventState::Quarantined, alert));
    };
    if event.sandbox && ctx.settings.profile.is_production() {
        return nobody(Fate::alerting(
            EventState::Sandbox,
            "a sandbox event reached production",
        ));
    }
    if event.level_name.as_ref().is_some_and(|named| named != level) {
        return nobody(Fate::alerting(EventState::Recorded, "it is about another level"));
    }
    let mut owner = None;
    if let Some(applicant_id) = &event.applicant_id {
        storage_kyc::lock_applicant_id(tx, applicant_id).await?;
        owner = storage_kyc::user_of_applicant(tx, applicant_id).await?;
    }
    // An event that names no user is about the one whose applicant it names.
    let named = event.external_user_id.as_deref().map(str::parse::<UserId>);
    let user = named.map_or(owner, Result::ok);
    if let Some(person) = storage_kyc::lock_erased(tx, user, event.applicant_id.as_deref()).await? {
        return Ok(Recognised::Erased(Box::new(AboutErased { event, person })));
    }
    let Some(user) = user else {
        return nobody(Fate::quiet(EventState::Unmatched, Some("no user of ours is named")));
    };
    let Some(locked) = storage_kyc::lock_standing(tx, user, level).await? else {
        // Whoever erased them may have held the lock for which this has waited.
        if let Some(person) = storage_kyc::lock_erased(tx, Some(user), None).await? {
            return Ok(Recognised::Erased(Box::new(AboutErased { event, person })));
        }
        let note = "no applicant is known for the user";
        return nobody(Fate::quiet(EventState::Unmatched, Some(note)));
    };
    let Some(applicant_id) = event.applicant_id.clone() else {
        return nobody(Fate::quiet(EventState::Recorded, Some("no applicant is named")));
    };
    let another = locked.applicant_id.as_ref().is_some_and(|known| *known != applicant_id);
    if another || owner.is_some_and(|owner| owner != user) {
        let alert = "it is about another applicant than the user's own";
        return nobody(Fate::alerting(EventState::Recorded, alert));
    }
    if locked.applicant_id.is_none() && storage_kyc::is_former(tx, &applicant_id).await? {
        let alert = "it is about an applicant that Sumsub has deleted";
        return nobody(Fate::alerting(EventState::Recorded, alert));
    }
    Ok(Recognised::Person(Box::new(About {
        event,
        user,
        applicant_id,
        locked,
    })))
}

impl About {
    /// The create answer was lost; a correctly signed event names the applicant.
    pub(super) async fn adopt(
        &self,
        tx: &mut Tx,
        event: WebhookEventId,
        request_id: Option<Uuid>,
    ) -> Result<(), JobError> {
        storage_kyc::created(tx, self.locked.applicant, &self.applicant_id).await?;
        let entry = Entry {
            actor: Actor::Provider,
            user: Some(self.user),
            action: "kyc.applicant_adopted",
            object: self.user.to_string(),
            detail: json!({ "applicant": self.locked.applicant.to_string(), "event": event.to_string() }),
            request_id,
        };
        Ok(audit::record(tx, entry).await?)
    }
}
