//! The table. The first seven names are the contract's; all others begin with `drop_`.

use super::Axis::{AtStart, Group, Label};
use super::MetricKind::{Counter, Gauge, Histogram};
use super::{Axis, MetricKind, MetricSpec, Process};
use crate::{alerts, domain::kyc::EVENT_TYPES};

/// Declares the constants and the table of them, so that neither can miss a row.
macro_rules! metrics {
    ($($(#[$doc:meta])* $constant:ident = $name:literal, $kind:expr, $set_by:expr, [$($axis:expr),*], $help:literal;)+) => {
        $($(#[$doc])*
        pub const $constant: MetricSpec =
            MetricSpec { name: $name, kind: $kind, help: $help, axes: &[$($axis),*], set_by: $set_by };)+

        /// Every metric of both processes.
        pub const TABLE: &[MetricSpec] = &[$($constant),+];
    };
}

const API: Option<Process> = Some(Process::Api);
const WORKER: Option<Process> = Some(Process::Worker);
const BOTH: Option<Process> = None;

/// Seconds; 1 and 5 must be edges: they are the limits for webhooks.
const HTTP_EDGES: MetricKind = Histogram(&[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]);
/// Seconds; 30 is the time limit of a call.
const PROVIDER_EDGES: MetricKind = Histogram(&[0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 35.0]);

/// Seconds; a job, or its wait for a slot.
const JOB_EDGES: MetricKind = Histogram(&[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
]);
/// Seconds; one round trip to the database, and never more than a few milliseconds of ours. 1 and 5 are Sumsub's limits.
const ACCEPT_EDGES: MetricKind = Histogram(&[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
]);
/// Seconds; one statement.
const CLAIM_EDGES: MetricKind = Histogram(&[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0]);
/// Jobs of one claim.
const BATCH_EDGES: MetricKind = Histogram(&[0.0, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0]);

/// What an operator can do on the page, as the audit log has it.
pub const OPERATOR_ACTION_NAMES: &[&str] = &[
    "operator.signed_in",
    "job.retried",
    "job.discarded",
    "job.cancelled",
    "lane.paused",
    "lane.resumed",
    "breaker.opened",
    "breaker.reset",
    "cron.run",
    "payment.settled",
    "payment.tracked",
    "payment.retried",
    "webhook.replayed",
    "webhook.dismissed",
    "worker.quieted",
    "worker.resumed",
    "aml.case_closed",
];

/// The exact reason; what the caller is told says less and is the outcome in `drop_logins_total`.
const LOGIN_ERRORS: Axis = Label(
    "reason",
    &[
        // Before BankID is asked for a token.
        "invalid_state",
        "invalid_callback",
        "bankid_error",
        "rate_limited",
        // `token_exchange_failed`.
        "code_refused",
        "client_refused",
        "exchange",
        "unusable_answer",
        "interrupted",
        "not_checked",
        // `jwks_verification_failed`.
        "keys",
        "header",
        "issuer",
        "audience",
        "authorized_party",
        "algorithm",
        "key",
        "signature",
        "time",
        "not_before",
        "nonce",
        "acr",
        "access_token_hash",
        "token_type",
        "subject",
        // `invalid_identity_claim`.
        "identity_claim",
        "national_id",
        // Itself.
        "age_unverified",
    ],
);
/// `succeeded`, or the failure that the login's row names.
const LOGIN_ENDS: Axis = Label(
    "outcome",
    &[
        "succeeded",
        "bankid_cancelled",
        "invalid_callback",
        "bankid_error",
        "token_exchange_failed",
        "jwks_verification_failed",
        "underage",
        "age_unverified",
        "invalid_identity_claim",
        "unauthenticated",
    ],
);
const OPERATIONS: Axis = Group(
    &["provider", "operation"],
    &[
        &["bankid", "token"],
        &["bankid", "jwks"],
        &["bankid", "discovery"],
        &["neonomics", "token"],
        &["neonomics", "consent_create"],
        &["neonomics", "consent_read"],
        &["neonomics", "consent_status"],
        &["neonomics", "consent_delete"],
        &["neonomics", "accounts"],
        &["neonomics", "balances"],
        &["neonomics", "payment_initiate"],
        &["neonomics", "payment_status"],
        &["neonomics", "payment_read"],
        &["neonomics", "payment_authorise"],
        &["neonomics", "payment_cancel"],
        &["sumsub", "applicant_create"],
        &["sumsub", "applicant_read"],
        &["sumsub", "applicant_status"],
        &["sumsub", "sdk_token"],
    ],
);
const OUTCOMES: Axis = Label(
    "outcome",
    &[
        "ok",
        "not_sent",
        "transient",
        "refused",
        "expired",
        "limited",
        "circuit_open",
        "ambiguous",
    ],
);
/// The objective a route counts towards.
const SLO: Axis = Label("slo", &["login", "payment", "webhook", "read", "none"]);
/// The queue's lanes, as the table `lanes` names them.
const LANE: Axis = Label(
    "lane",
    &[
        "login",
        "payment.send",
        "payment.poll",
        "balance.user",
        "balance.batch",
        "kyc.call",
        "kyc.apply",
        "upkeep",
    ],
);
/// The states of a consent, as its table has them.
const CONSENT_STATES: Axis = Label(
    "state",
    &[
        "requested",
        "received",
        "valid",
        "rejected",
        "expired",
        "revoked",
        "terminated",
        "replaced",
        "failed",
        "deleted",
    ],
);
/// The cron table's lines.
const SCHEDULE: Axis = Label(
    "name",
    &[
        "plan-balance-syncs",
        "reconcile-payments",
        "reconcile-kyc",
        "sweep-outbox",
        "prune",
    ],
);
/// The breaker's rows.
const CIRCUIT: Axis = Label("key", &["neonomics/pisp", "neonomics/aisp", "sumsub/api"]);

metrics! {
    /// Contract: logins that ended in an error of ours or of BankID; not a cancel, not under age.
    BANKID_LOGIN_ERRORS = "bankid_login_errors_total", Counter, BOTH, [LOGIN_ERRORS],
        "Logins that ended in an error of ours or of BankID, by reason.";
    /// Contract: answers 403 `underage`.
    BANKID_UNDERAGE_REJECTIONS = "bankid_underage_rejections_total", Counter, WORKER, [],
        "Logins refused because the person is under 18.";
    /// Contract: payments that failed or need review.
    PISP_PAYMENT_FAILURES = "pisp_payment_failures_total", Counter, WORKER,
        [Label("reason", &["rejected", "not_sent", "sca_timeout", "retries_spent", "ambiguous"])],
        "Payments that became failed or need review, by reason.";
    /// Contract: the row of the breaker for payments, half-open included.
    PISP_CIRCUIT_OPEN = "pisp_circuit_open", Gauge(0.0), WORKER, [],
        "1 while calls to Neonomics payments are refused locally.";
    /// Contract: webhooks refused or not applied.
    SUMSUB_WEBHOOK_FAILURES = "sumsub_webhook_failures_total", Counter, BOTH,
        [Label("reason", &["digest", "unreadable", "overloaded", "storage", "apply"])],
        "Sumsub webhooks refused or not applied, by reason.";
    /// Contract: hours, not seconds, because its name says so.
    BALANCE_STALENESS_HOURS = "aisp_balance_staleness_hours", Gauge(0.0), WORKER, [],
        "Age of the oldest cached balance of an account with a live consent, in hours; 0 without accounts.";
    /// Contract: 0 to 1 over the last hour of events; NaN when nothing was decided.
    KYC_APPROVAL_RATE = "kyc_approval_rate", Gauge(f64::NAN), WORKER, [],
        "Approved among decided identity checks of the last hour, 0 to 1; NaN when nothing was decided.";

    /// Answers of the public listener.
    HTTP_REQUESTS = "drop_http_requests_total", Counter, API,
        [AtStart("method"), AtStart("route"), SLO, AtStart("status")],
        "Requests answered, by route pattern and status.";
    /// From the first byte of the request to the answer.
    HTTP_REQUEST_DURATION = "drop_http_request_duration_seconds", HTTP_EDGES, API, [AtStart("method"), AtStart("route"), SLO],
        "Time to answer a request, by route pattern.";
    /// Requests that have no answer yet.
    HTTP_IN_FLIGHT = "drop_http_requests_in_flight", Gauge(0.0), API, [],
        "Requests being answered now.";
    /// Set while the process lets its work run out.
    DRAINING = "drop_draining", Gauge(0.0), BOTH, [],
        "1 while the process is shutting down.";
    /// Requests over a caller's limit.
    RATE_LIMITED = "drop_rate_limited_total", Counter, API,
        [Label("limit", &["bankid.initiate", "bankid.callback", "bankid.redeem", "payment.callback", "consent.callback", "refresh", "user", "address"])],
        "Requests refused by a rate limit, by limit.";
    /// Calls to providers by error class.
    PROVIDER_REQUESTS = "drop_provider_requests_total", Counter, BOTH, [OPERATIONS, OUTCOMES],
        "Calls to providers, by operation and outcome.";
    /// Time of calls that left.
    PROVIDER_REQUEST_DURATION = "drop_provider_request_duration_seconds", PROVIDER_EDGES, BOTH, [OPERATIONS],
        "Time a provider took to answer, by operation.";
    /// A word of a provider we do not know; the word is in the log.
    PROVIDER_UNKNOWN_VALUES = "drop_provider_unknown_values_total", Counter, BOTH,
        [Group(&["provider", "field"], &[
            &["neonomics", "transaction_status"], &["neonomics", "consent_status"], &["neonomics", "balance_type"],
            &["neonomics", "error_code"], &["sumsub", "event_type"], &["sumsub", "review_answer"],
            &["sumsub", "review_status"],
        ])],
        "Values from providers that are not in our lists, by field.";

    /// Whoever never comes back from BankID has not ended.
    LOGINS = "drop_logins_total", Counter, BOTH, [LOGIN_ENDS],
        "Logins that came back from BankID and ended, by outcome.";
    /// Of logins whose token was asked for. The database's clock measures the whole, the worker's what BankID takes.
    LOGIN_DURATION = "drop_login_duration_seconds", HTTP_EDGES, WORKER, [Label("part", &["provider", "ours"])],
        "Time from a login's callback to its outcome: BankID's part of it, and ours.";

    /// Ends of attempts; `lost` means that the lease had gone.
    JOB_ATTEMPTS = "drop_job_attempts_total", Counter, WORKER,
        [LANE, AtStart("kind"), Label("outcome", &["done", "again", "wait", "dead", "lost"])],
        "Attempts of jobs, by lane, kind and outcome.";
    /// Read from the table, so the same on every worker: aggregate with `max`, never `sum`.
    JOBS = "drop_jobs", Gauge(0.0), WORKER, [LANE, Label("state", &["ready", "scheduled", "running", "dead", "untold"])],
        "Jobs in the queue, by lane and state.";
    /// The best signal for paging and scaling.
    JOBS_OLDEST_READY_AGE = "drop_jobs_oldest_ready_age_seconds", Gauge(0.0), WORKER, [LANE],
        "Age of the oldest job that could run now, by lane.";
    /// Nothing is late in a lane without a limit, and no number says so: any age compared with NaN is false.
    LANE_READY_AGE_LIMIT = "drop_lane_ready_age_limit_seconds", Gauge(f64::NAN), WORKER, [LANE],
        "Age of the oldest ready job above which the API sheds, by lane; NaN where it never does.";
    /// A lane that waits on purpose neither pages nor scales.
    LANE_BLOCKED = "drop_lane_blocked", Gauge(0.0), WORKER, [LANE],
        "1 while nothing of the lane is claimed: paused, throttled, or its circuit is open.";
    /// From the claim to the recorded outcome.
    JOB_DURATION = "drop_job_duration_seconds", JOB_EDGES, WORKER, [LANE],
        "Time a job ran, its recorded outcome included, by lane.";
    /// From the time it could run.
    JOB_WAIT = "drop_job_wait_seconds", JOB_EDGES, WORKER, [LANE],
        "Time between run_at and the start of a job, by lane.";
    /// Of this process.
    WORKER_RESTARTS = "drop_worker_restarts_total", Counter, WORKER, [LANE],
        "Workers of lanes that ended although they should not, and were built anew.";
    /// Of this process.
    LANE_SLOTS = "drop_lane_slots", Gauge(0.0), WORKER, [LANE],
        "Jobs this process runs at a time, by lane.";
    /// Of this process.
    JOBS_IN_FLIGHT = "drop_jobs_in_flight", Gauge(0.0), WORKER, [LANE],
        "Jobs this process is running, by lane.";
    /// Jobs of workers that died.
    JOB_RESCUES = "drop_job_rescues_total", Counter, WORKER, [LANE],
        "Jobs taken back after their lease had expired, by lane.";
    /// Successful claims, empty ones too.
    CLAIM_DURATION = "drop_claim_duration_seconds", CLAIM_EDGES, WORKER, [LANE],
        "Time a claim took, by lane.";
    CLAIM_BATCH_SIZE = "drop_claim_batch_size", BATCH_EDGES, WORKER, [LANE],
        "Jobs that a claim took, by lane; 0 where nothing waited.";
    /// Set on every round that reached the database, empty or not.
    LAST_CLAIM = "drop_worker_last_claim_timestamp_seconds", Gauge(0.0), WORKER, [],
        "When this process last asked for jobs and got an answer, as a Unix time; 0 before the first.";
    /// Half-open is a time, not a row's state: open, and a probe may go out.
    CIRCUIT_STATE = "drop_circuit_state", Gauge(0.0), WORKER, [CIRCUIT],
        "0 closed, 1 half-open, 2 open, by circuit.";
    /// Failed probes do not start it anew.
    CIRCUIT_OPEN_SECONDS = "drop_circuit_open_seconds", Gauge(0.0), WORKER, [CIRCUIT],
        "Time since the circuit opened, half-open included; 0 while it is closed.";
    /// Each raises the epoch of the circuit's row; counted by who caused it, once it is committed. Half-open is a time and
    /// no event.
    CIRCUIT_TRANSITIONS = "drop_circuit_transitions_total", Counter, WORKER, [CIRCUIT, Label("to", &["open", "closed"])],
        "Openings of circuits, probes that failed included, and closings.";
    /// Once a slot and process: of the workers that look at a slot, one takes it.
    CRON_SLOTS = "drop_cron_slots_total", Counter, WORKER, [SCHEDULE, Label("result", &["taken", "duplicate", "skipped"])],
        "Slots of the cron table, by what became of them in this process; skipped where they were too old.";
    /// Read from the table, so the same on every worker.
    CRON_LAST_SLOT = "drop_cron_last_slot_timestamp_seconds", Gauge(0.0), WORKER, [SCHEDULE],
        "The last slot that a worker took, by line of the cron table, as a Unix time; 0 before the first.";
    /// Of this process.
    DB_CONNECTIONS = "drop_db_connections", Gauge(0.0), BOTH, [Label("state", &["idle", "in_use"])],
        "Connections of this process to the database, by state.";
    /// Asked for now and then, only to see.
    DB_ACQUIRE_DURATION = "drop_db_acquire_duration_seconds", ACCEPT_EDGES, BOTH, [],
        "Time to get a connection of this process, sampled every fifteen seconds.";
    /// Of the process; those that a caller expects, such as a second row of one key, are among the constraints.
    DB_ERRORS = "drop_db_errors_total", Counter, BOTH,
        [Label("class", &["connection", "pool", "contention", "timeout", "constraint", "resources", "other"])],
        "Errors of the database, by class.";
    /// Of the process, whether or not people were told: what is raised again within its quiet period counts, too.
    ALERTS_RAISED = "drop_alerts_raised_total", Counter, BOTH, [Label("alert", &alerts::NAMES)],
        "Alerts that the code raised, by name.";
    /// Each answer with a 4xx other than 408 and 429: the address or the alert is wrong, and nobody is told by Sentry.
    ALERTS_REFUSED = "drop_alerts_refused_total", Counter, BOTH, [Label("alert", &alerts::NAMES)],
        "Alerts that Sentry refused for good, by name.";
    /// Whosever it is: a forgotten session, or a backup.
    DB_OLDEST_SNAPSHOT_AGE = "drop_db_oldest_snapshot_age_seconds", Gauge(0.0), WORKER, [],
        "Age of the oldest transaction that keeps the database from cleaning up; 0 without one.";
    /// Grows while the database cannot be read; the gauges read from it are taken out after a minute.
    QUEUE_GAUGES_AGE = "drop_queue_gauges_age_seconds", Gauge(0.0), WORKER, [],
        "Age of the gauges that are read from the database.";

    /// As its person sees it, so one whose end is reversed or late counts under both. Taking back what never left is the API's.
    PAYMENTS = "drop_payments_total", Counter, BOTH, [Label("outcome", &["completed", "failed", "cancelled"])],
        "Payments that ended in the eyes of their person, by outcome.";
    /// Every call that was entered into the ledger of reads, once its outcome is committed.
    BALANCE_READS = "drop_balance_reads_total", Counter, WORKER,
        [Label("outcome", &["read", "no_balance", "not_sent", "transient", "refused", "expired", "limited", "circuit_open", "ambiguous"]),
         Label("attended", &["true", "false"])],
        "Reads of balances, by outcome and by whether their owner was there.";
    /// The bank decides them, not a person.
    PAYMENTS_OPEN = "drop_payments_open", Gauge(0.0), WORKER, [],
        "Payments that are still processing and need no review.";
    /// Not the failed and completed ones that are followed until the bank is final.
    PAYMENTS_OLDEST_OPEN_AGE = "drop_payments_oldest_open_age_seconds", Gauge(0.0), WORKER, [],
        "Age of the oldest payment that is still processing and needs no review.";
    /// Money may have moved and we cannot know.
    PAYMENTS_NEEDS_REVIEW = "drop_payments_needs_review", Gauge(0.0), WORKER, [],
        "Payments that are not final at the bank and that a person must look at.";
    /// More than four would break RTS art. 36(5)(b).
    BALANCE_WINDOW_USED = "drop_balance_window_used", Gauge(0.0), WORKER, [],
        "The most balance reads without its owner that one account had in the last 24 hours; 4 are allowed.";
    /// From the time it became due, or was planned, until it is read.
    BALANCE_SYNC_LAG = "drop_balance_sync_lag_seconds", Gauge(0.0), WORKER, [],
        "Age of the oldest balance read without its owner that is due and was not made; 0 without one.";
    /// All there are, also those that ended.
    CONSENTS = "drop_consents", Gauge(0.0), WORKER, [CONSENT_STATES],
        "Consents to read accounts, by state.";
    /// Not the unmatched, which wait for their applicant.
    WEBHOOK_INBOX_OLDEST_AGE = "drop_webhook_inbox_oldest_age_seconds", Gauge(0.0), WORKER, [],
        "Age of the oldest accepted webhook that was not applied.";
    /// The two that wait for something: their applicant, or a person.
    WEBHOOKS_LEFT_OVER = "drop_webhooks_left_over", Gauge(0.0), WORKER, [Label("state", &["unmatched", "quarantined"])],
        "Accepted webhooks that wait for their applicant, or for a person.";
    /// The API counts the duplicates, the worker what became of the others.
    WEBHOOK_EVENTS = "drop_webhook_events_total", Counter, BOTH,
        [Label("type", EVENT_TYPES), Label("result", &[
            "duplicate", "applied", "audited", "same_state", "stale", "recorded", "sandbox", "unmatched", "quarantined",
        ])],
        "Events from Sumsub, by type and by what became of them.";
    /// From the checked headers to the commit.
    WEBHOOK_ACCEPT_DURATION = "drop_webhook_accept_duration_seconds", ACCEPT_EDGES, API, [],
        "Time to check and store a webhook.";
    /// The use of the previous secret ends with a rotation.
    WEBHOOK_SIGNATURES = "drop_webhook_signatures_total", Counter, API, [Label("secret", &["current", "previous"])],
        "Webhooks with a right digest, by the secret that made it.";
    /// Sumsub's turn, not the person's.
    KYC_PENDING_OLDEST_AGE = "drop_kyc_pending_oldest_age_seconds", Gauge(0.0), WORKER, [],
        "Time since the oldest identity check began that Sumsub has not decided; 0 without one.";
    /// Refusals for good.
    AML_CASES_OPEN = "drop_aml_cases_open", Gauge(0.0), WORKER, [],
        "Cases that wait for a compliance officer.";
    /// The outbox.
    NOTIFICATIONS_OLDEST_AGE = "drop_notifications_oldest_undelivered_age_seconds", Gauge(0.0), WORKER, [],
        "Age of the oldest notification that was not handed to the sender; 0 without one.";
    /// Written by the program that does it, which ends before anybody could scrape it.
    RETENTION_LAST_SUCCESS = "drop_retention_last_success_timestamp_seconds", Gauge(0.0), WORKER, [],
        "When all that was due was last moved and deleted, as a Unix time.";
    /// The same of what lists them every hour.
    ERASED_LIST_LAST_SUCCESS = "drop_erased_list_last_success_timestamp_seconds", Gauge(0.0), WORKER, [],
        "When those who were erased were last listed outside the database, as a Unix time.";
    /// Legal holds stop it on purpose.
    ERASURES_OLDEST_AGE = "drop_erasures_oldest_unmoved_age_seconds", Gauge(0.0), WORKER, [],
        "Time since the oldest erasure after which the person's records were not moved yet; 0 without one.";
    /// What came again, late or for the same state is no new decision.
    KYC_REVIEWS = "drop_kyc_reviews_total", Counter, WORKER,
        [Label("outcome", &["approved", "rejected", "retry", "reset", "suspend"])],
        "Decisions of Sumsub that changed how a person stands, by outcome.";
    /// The volume guard of the approval alert.
    KYC_REVIEWS_LAST_HOUR = "drop_kyc_reviews_last_hour", Gauge(0.0), WORKER, [],
        "Identity checks approved or rejected by events of the last hour.";
    /// On the page of this process. What the commands do is in the audit log alone: they end before anybody asks them.
    OPERATOR_ACTIONS = "drop_operator_actions_total", Counter, WORKER, [Label("action", OPERATOR_ACTION_NAMES)],
        "What operators did through this process, on its page or as JSON, by action.";
    /// Of the one in use: a successor shows once it is accepted.
    CERTIFICATE_EXPIRY = "drop_certificate_expiry_timestamp_seconds", Gauge(f64::NAN), WORKER, [Label("name", &["neonomics"])],
        "When a client certificate ends, as a Unix time; NaN where none is configured.";
    /// Always 1; the labels name the build.
    BUILD_INFO = "drop_build_info", Gauge(1.0), BOTH, [AtStart("version"), AtStart("revision")],
        "The build of this process.";
}
