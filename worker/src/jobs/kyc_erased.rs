//! What is still told of somebody who was erased. It is kept apart with the rest, and a refusal for good is looked at all the
//! same: the law does not forget it with them.

use drop_common::{
    domain::kyc::{Decision, KycStatus},
    queue::JobError,
    storage::{
        Tx,
        aml_cases::NewCase,
        users,
        webhooks::{EventState, Waiting},
    },
};
use uuid::Uuid;

use super::{
    kyc_about::AboutErased,
    kyc_decision::{CASE_OPENED, open_case},
    kyc_moves::Fate,
};

pub(super) async fn record(
    tx: &mut Tx,
    waiting: &Waiting,
    about: &AboutErased,
    request_id: Option<Uuid>,
) -> Result<Fate, JobError> {
    let AboutErased { event, person } = about;
    let mut fate = Fate::quiet(EventState::Recorded, Some("its person was erased"));
    let refused = event.decision() == Some(Decision::Rejected) && person.status != KycStatus::Rejected;
    if let (true, Some(applicant_id)) = (refused, &event.applicant_id) {
        // As of anybody, a refusal that is said again is no second case.
        users::set_kyc_status(tx, person.user, KycStatus::Rejected).await?;
        let new = NewCase {
            user: person.user,
            event: waiting.id,
            applicant_id,
            reject_labels: &event.reject_labels,
        };
        open_case(tx, new, request_id).await?;
        fate.alerts.push(CASE_OPENED);
    }
    Ok(fate)
}
