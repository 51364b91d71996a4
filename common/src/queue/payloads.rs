//! Every kind of job: ids only, because the table is no place for codes, tokens, names or amounts.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use uuid::Uuid;

use super::{Job, Lane};
use crate::domain::ids::{
    AccountId, ConsentId, KycApplicantId, LoginId, NotificationId, PaymentId, RefreshId, SdkTokenId, WebhookEventId,
};

macro_rules! jobs {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* } $kind:literal in $lane:ident
       $(, attempts $attempts:literal)? $(, seconds $seconds:literal)?, key |$job:ident| $key:expr;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
            pub struct $name { $($(#[$field_doc])* pub $field: $type),* }

            impl Job for $name {
                const KIND: &'static str = $kind;
                const LANE: Lane = Lane::$lane;
                $(const MAX_ATTEMPTS: i32 = $attempts;)?
                $(const TIMEOUT: Duration = Duration::from_secs($seconds);)?
                fn unique_key(&self) -> Option<String> { let $job = self; $key }
            }
        )*

        /// The kind of every job there is; each has exactly one handler.
        pub const ALL_KINDS: &[&str] = &[$($kind),*];

        /// Every kind with the lane it waits in.
        pub const KINDS_BY_LANE: &[(Lane, &str)] = &[$((Lane::$lane, $kind)),*];
    };
}

jobs! {
    /// Exchanges a login's code at `BankID` and checks the token. The exchange has 10 s and the keys 5 s; the rest is for an
    /// answer that the database cannot take at once. Nobody waits longer to log in.
    CheckLogin { /// The login that came back from `BankID`.
        login: LoginId } "check-login" in Login, seconds 30, key |job| Some(job.login.to_string());
    /// Creates the person's applicant at Sumsub.
    CreateApplicant { /// Our applicant row.
        applicant: KycApplicantId, /// The request to create it; asking again after a refusal is another.
        request: Uuid } "create-applicant" in KycCall, key |job| Some(job.request.to_string());
    /// Applies a stored Sumsub event to the person's KYC status: a few statements, and no call. Workers that are killed and a
    /// database that comes and goes use attempts up, too, and an accepted event must not need a person for that.
    ApplyKycEvent { /// The stored event.
        event: WebhookEventId } "apply-kyc-event" in KycApply, attempts 20, seconds 30, key |job| Some(job.event.to_string());
    /// Asks Sumsub for a token of its SDK, while somebody waits for it.
    CreateSdkToken { /// The wish.
        token: SdkTokenId } "create-sdk-token" in KycCall, attempts 3, key |job| Some(job.token.to_string());
    /// Asks Sumsub how an applicant stands, and applies the answer as an event.
    ReadKycStatus { /// Our applicant row.
        applicant: KycApplicantId, /// What made it necessary happened then: the answer is not older.
        not_before: Option<DateTime<Utc>> } "read-kyc-status" in KycCall, key |_job| None;
    /// Plans the questions about everybody who stays pending or was decided, and finds events that no job will apply.
    ReconcileKyc { /// The slot of the schedule.
        slot: DateTime<Utc> } "reconcile-kyc" in Upkeep, key |job| Some(job.slot.timestamp().to_string());
    /// Hands a notification to the sender. It is tried for about a day.
    DeliverNotification { /// The notification.
        notification: NotificationId } "deliver-notification" in Upkeep, attempts 16, seconds 40, key |job| Some(job.notification.to_string());
    /// Finds notifications that no job will deliver.
    SweepOutbox {} "sweep-outbox" in Upkeep, key |_job| None;
    /// Asks the bank for a consent and the link where the person approves it.
    StartConsent { /// The requested consent.
        consent: ConsentId } "start-consent" in BalanceUser, key |job| Some(job.consent.to_string());
    /// Looks how a consent stands, and reads its accounts once it is approved. A callback brings the look forward. It lives
    /// for a day, in which workers may be killed a few times.
    FetchAccounts { /// The consent.
        consent: ConsentId } "fetch-accounts" in BalanceUser, attempts 20, key |job| Some(job.consent.to_string());
    /// Ends a consent at the bank that is over here: its owner unlinked it, or never approved it. A bank may be away for days.
    EndConsent { /// The consent.
        consent: ConsentId } "end-consent" in BalanceUser, attempts 30, key |job| Some(job.consent.to_string());
    /// Asks a consent's owner to link the bank again, unless they have done so by then.
    AskToLink { /// The consent that the bank called dead while its owner was linking one.
        consent: ConsentId } "ask-to-link" in Upkeep, attempts 16, key |job| Some(job.consent.to_string());
    /// Reads one balance because its owner asked.
    RefreshBalance { /// The refresh request.
        refresh: RefreshId } "refresh-balance" in BalanceUser, key |job| Some(job.refresh.to_string());
    /// Enqueues the balance reads of one scheduled slot.
    PlanBalanceSyncs { /// The slot of the schedule.
        slot: DateTime<Utc> } "plan-balance-syncs" in Upkeep, key |job| Some(job.slot.timestamp().to_string());
    /// Reads one balance without its owner.
    SyncBalance { /// The account.
        account: AccountId, /// When it was planned: part of the key, because a key is used up until its row is pruned.
        planned_at: DateTime<Utc> } "sync-balance" in BalanceBatch, key |job| Some(format!("{}@{}", job.account, job.planned_at.timestamp_millis()));
    /// Sends a payment to the bank, once.
    InitiatePayment { /// The payment.
        payment: PaymentId } "initiate-payment" in PaymentSend, attempts 4, key |job| Some(job.payment.to_string());
    /// Starts the approval of a payment whose bank wants a call of its own for that, once.
    StartAuthorisation { /// The payment.
        payment: PaymentId } "start-authorisation" in PaymentSend, key |job| Some(job.payment.to_string());
    /// Asks the bank how a payment is doing. Safe to run any number of times, for up to a week: a worker that is killed
    /// in the middle uses an attempt each time, so there are many.
    PollPayment { /// The payment.
        payment: PaymentId } "poll-payment" in PaymentPoll, attempts 30, key |job| Some(job.payment.to_string());
    /// Takes a payment back at the bank because its owner asked.
    CancelPayment { /// The payment.
        payment: PaymentId, /// The wish: after a refusal they may ask again.
        request: Uuid } "cancel-payment" in PaymentPoll, key |job| Some(job.request.to_string());
    /// Gives every open payment a next step that has none, and ends the patience for approvals that nobody could look at.
    ReconcilePayments {} "reconcile-payments" in Upkeep, key |_job| None;
    /// Deletes what the retention table says has had its time.
    PruneJobs {} "prune-jobs" in Upkeep, key |_job| None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_and_an_event_may_not_take_as_long_as_a_call_to_a_bank() {
        let seconds =
            [CheckLogin::TIMEOUT, ApplyKycEvent::TIMEOUT, InitiatePayment::TIMEOUT].map(|time| time.as_secs());
        assert_eq!(seconds, [30, 30, 100]);
    }
}
