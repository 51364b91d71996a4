//! Which job is run by what: every kind has exactly one handler.

use drop_common::queue::{
    Registry,
    payloads::{
        ApplyKycEvent, AskToLink, CancelPayment, CheckLogin, CreateApplicant, CreateSdkToken, DeliverNotification,
        EndConsent, FetchAccounts, InitiatePayment, PlanBalanceSyncs, PollPayment, PruneJobs, ReadKycStatus,
        ReconcileKyc, ReconcilePayments, RefreshBalance, StartAuthorisation, StartConsent, SweepOutbox, SyncBalance,
    },
};

use crate::context::Context;

/// The handlers of this worker.
pub fn registry() -> Registry<Context> {
    Registry::new()
        .with::<CheckLogin>()
        .with::<CreateApplicant>()
        .with::<CreateSdkToken>()
        .with::<ReadKycStatus>()
        .with::<ReconcileKyc>()
        .with::<ApplyKycEvent>()
        .with::<DeliverNotification>()
        .with::<SweepOutbox>()
        .with::<StartConsent>()
        .with::<FetchAccounts>()
        .with::<EndConsent>()
        .with::<AskToLink>()
        .with::<RefreshBalance>()
        .with::<PlanBalanceSyncs>()
        .with::<SyncBalance>()
        .with::<InitiatePayment>()
        .with::<StartAuthorisation>()
        .with::<PollPayment>()
        .with::<CancelPayment>()
        .with::<ReconcilePayments>()
        .with::<PruneJobs>()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use drop_common::queue::ALL_KINDS;

    use super::registry;
    use crate::schedule::SCHEDULES;

    #[test]
    fn every_kind_of_job_has_exactly_one_handler() {
        let kinds: BTreeSet<_> = ALL_KINDS.iter().copied().collect();
        assert_eq!(kinds.len(), ALL_KINDS.len(), "a kind is named twice");
        let handled: BTreeSet<_> = registry().kinds().collect(); // a second handler of a kind would have panicked
        assert_eq!(handled, kinds);
    }

    #[test]
    fn every_schedule_has_a_name_of_its_own_and_enqueues_a_kind_that_has_a_handler() {
        let handled: BTreeSet<_> = registry().kinds().collect();
        let names: BTreeSet<_> = SCHEDULES.iter().map(|schedule| schedule.name).collect();
        assert_eq!(names.len(), SCHEDULES.len());
        for schedule in SCHEDULES {
            assert!(handled.contains(schedule.job.kind()), "{}", schedule.name);
        }
    }
}
