//! The table of alerts that the code itself raises: what a person must look at although no metric shows it.
//!
//! An alert is a log line at error level with the target `alert`, so that a collector finds it whatever else is logged, and
//! an event in Sentry where there is one. What a metric shows is alerted on by the metric's own rule; of that, only what the
//! contract wants in Sentry (section 7) is raised here too.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::{
    metrics::{ALERTS_RAISED, ALERTS_REFUSED, Metrics},
    telemetry,
};

/// How soon somebody must look, in the contract's words (section 7), the soonest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// On call and management, at once.
    Critical,
    /// On call, at once.
    High,
    /// In working hours.
    Medium,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Alert {
    /// What rules and runbooks call it.
    pub name: &'static str,
    /// How soon somebody must look.
    pub severity: Severity,
    /// What has happened.
    pub meaning: &'static str,
}

/// BankID, its keys or a token's contents are not what they must be; the reason says which.
pub const LOGIN_REFUSED: Alert = Alert {
    name: "bankid_login_refused",
    severity: Severity::High,
    meaning: "a login was refused for a reason that does not lie with the person",
};

/// Connect errors, timeouts, 5xx and answers that cannot be read, of a login or at the start of a process that asks for
/// `BANKID_DISCOVERY`. Nobody who is not signed in gets in.
pub const BANKID_UNREACHABLE: Alert = Alert {
    name: "bankid_unreachable",
    severity: Severity::High,
    meaning: "BankID could not be reached",
};

/// Logins end when the time is over for which BankID promised its keys.
pub const BANKID_KEYS: Alert = Alert {
    name: "bankid_keys",
    severity: Severity::High,
    meaning: "BankID's signing keys cannot be fetched anew; the old ones serve for as long as BankID promised them",
};

/// The client id, redirect address or scope that we ask with is wrong.
pub const BANKID_REQUEST_REFUSED: Alert = Alert {
    name: "bankid_request_refused",
    severity: Severity::High,
    meaning: "BankID refused our request before the person could identify themselves",
};

/// One of the sources is wrong about this person.
pub const IDENTITY_CLAIMS_DISAGREE: Alert = Alert {
    name: "identity_claims_disagree",
    severity: Severity::Medium,
    meaning: "a birth date and a national id disagree; the younger date decides",
};

/// A payment whose end is not what the person was told, or that nobody but the bank can say more about.
pub const PAYMENT: Alert = Alert {
    name: "payment",
    severity: Severity::High,
    meaning: "somebody must look at a payment",
};

/// The bank or Neonomics does not accept us: certificate, signature, role, or an unexplained 401 or 403.
pub const BANK_REFUSES_US: Alert = Alert {
    name: "bank_refuses_us",
    severity: Severity::High,
    meaning: "a bank refuses our own standing, not the person's",
};

/// A successor is there that does not serve. Two looks in a row, because two files cannot be replaced at one moment.
pub const CLIENT_CERTIFICATE: Alert = Alert {
    name: "client_certificate",
    severity: Severity::High,
    meaning: "a new client certificate cannot be used; the one before serves on until it ends",
};

/// The bank took a consent and gave no link that a person may be sent to.
pub const CONSENT_LINK: Alert = Alert {
    name: "consent_link",
    severity: Severity::Medium,
    meaning: "a bank gave no usable link for the approval of a consent",
};

/// It ends with its last day; until then the bank would let us read, or let the person approve it, and we have told them
/// that it is over.
pub const CONSENT_NOT_ENDED: Alert = Alert {
    name: "consent_not_ended",
    severity: Severity::Medium,
    meaning: "a consent that is over here has not ended at the bank",
};

/// A signed event that cannot be applied as it is, or that should not have come here.
pub const KYC_EVENT: Alert = Alert {
    name: "kyc_event",
    severity: Severity::High,
    meaning: "somebody must look at an event from Sumsub",
};

/// Sumsub refuses a call of ours: the token, the level or the request is wrong.
pub const SUMSUB_REFUSES_US: Alert = Alert {
    name: "sumsub_refuses_us",
    severity: Severity::High,
    meaning: "Sumsub refuses a call of ours",
};

/// The time is in the signature of a call, and Sumsub takes none that is more than a minute from its own.
pub const SUMSUB_CLOCK: Alert = Alert {
    name: "sumsub_clock",
    severity: Severity::High,
    meaning: "Sumsub refuses signed calls for their time: mend the clock of the machine that this worker runs on",
};

/// Sumsub's secret was changed there and not here, or somebody else sends.
pub const WEBHOOK_DIGEST: Alert = Alert {
    name: "webhook_digest",
    severity: Severity::High,
    meaning: "a webhook's digest is wrong: look at the rotation of SUMSUB_SECRET_KEY",
};

/// A refusal for good: a compliance officer decides whether it is reported.
pub const AML_CASE: Alert = Alert {
    name: "aml_case",
    severity: Severity::Medium,
    meaning: "a case waits for a compliance officer",
};

/// The law's time is over; there it is deleted by hand, in its dashboard.
pub const APPLICANT_TO_DELETE: Alert = Alert {
    name: "applicant_to_delete",
    severity: Severity::Medium,
    meaning: "nothing is kept any more of the person of an applicant, which Sumsub still has",
};

/// Others are moved and deleted all the same; this is tried again every hour.
pub const RETENTION_FAILED: Alert = Alert {
    name: "retention_failed",
    severity: Severity::Medium,
    meaning: "what is due could not be moved apart or deleted",
};

/// A job died, and its kind's `on_dead` failed: a payment, say, is still processing and nobody works for it.
pub const JOB_UNTOLD: Alert = Alert {
    name: "job_untold",
    severity: Severity::High,
    meaning: "a job died, and what follows from that could not be written yet",
};

/// No payment is sent until it closes.
pub const PISP_CIRCUIT_OPEN: Alert = Alert {
    name: "pisp_circuit_open",
    severity: Severity::Critical,
    meaning: "the circuit of payments is open",
};

/// Whatever the provider suffers from does not pass by itself.
pub const CIRCUIT_OPEN_LONG: Alert = Alert {
    name: "circuit_open_long",
    severity: Severity::High,
    meaning: "a circuit has been open for more than five minutes",
};

/// People are shown what they had half a day ago.
pub const BALANCE_STALE: Alert = Alert {
    name: "balance_stale",
    severity: Severity::Medium,
    meaning: "a linked account's balance is more than twelve hours old",
};

/// The whole table.
pub const ALL: [&Alert; 21] = [
    &LOGIN_REFUSED,
    &BANKID_UNREACHABLE,
    &BANKID_KEYS,
    &BANKID_REQUEST_REFUSED,
    &IDENTITY_CLAIMS_DISAGREE,
    &PAYMENT,
    &BANK_REFUSES_US,
    &CLIENT_CERTIFICATE,
    &CONSENT_LINK,
    &CONSENT_NOT_ENDED,
    &KYC_EVENT,
    &SUMSUB_REFUSES_US,
    &SUMSUB_CLOCK,
    &WEBHOOK_DIGEST,
    &AML_CASE,
    &APPLICANT_TO_DELETE,
    &RETENTION_FAILED,
    &JOB_UNTOLD,
    &PISP_CIRCUIT_OPEN,
    &CIRCUIT_OPEN_LONG,
    &BALANCE_STALE,
];

/// Their names: the values of the label of `drop_alerts_raised_total`.
pub(crate) const NAMES: [&str; ALL.len()] = {
    let (mut names, mut next) = ([""; ALL.len()], 0);
    while next < names.len() {
        names[next] = ALL[next].name;
        next += 1;
    }
    names
};

/// How often this process has raised each, by the place in the table: an alert is raised wherever it is met.
static RAISED: [AtomicU64; ALL.len()] = [const { AtomicU64::new(0) }; ALL.len()];

/// And how often Sentry has refused it for good.
static REFUSED: [AtomicU64; ALL.len()] = [const { AtomicU64::new(0) }; ALL.len()];

/// How often this process has raised it since it started.
pub fn raised(alert: &Alert) -> u64 {
    place(alert).map_or(0, |place| RAISED[place].load(Ordering::Relaxed))
}

fn place(alert: &Alert) -> Option<usize> {
    NAMES.iter().position(|name| *name == alert.name)
}

/// Counts in the metrics what is raised, until `stop`.
pub async fn keep_counted(metrics: &Metrics, stop: &CancellationToken) {
    let mut seconds = interval(Duration::from_secs(1));
    let (mut raised, mut refused) = (ALL.map(|_| 0), ALL.map(|_| 0));
    while stop.run_until_cancelled(seconds.tick()).await.is_some() {
        for (metric, seen, counted) in [
            (&ALERTS_RAISED, &RAISED, &mut raised),
            (&ALERTS_REFUSED, &REFUSED, &mut refused),
        ] {
            for ((name, seen), counted) in NAMES.iter().zip(seen).zip(counted) {
                let seen = seen.load(Ordering::Relaxed);
                metrics.count_more(metric, &[name], seen - *counted);
                *counted = seen;
            }
        }
    }
}

/// Sentry will never take it.
pub(crate) fn count_refused(alert: &Alert) {
    if let Some(place) = place(alert) {
        REFUSED[place].fetch_add(1, Ordering::Relaxed);
    }
}

/// Raises an alert. `about` says which row it concerns and why: ids and words of ours, nothing of a person. Whatever else it is
/// about is another cause, of which people are told on its own.
pub fn raise(alert: &Alert, about: impl fmt::Display) {
    let about = about.to_string();
    raise_for(alert, &about, &about);
}

/// Raises an alert about one of many rows that meet the same `cause`, of which people are told once in a while. The same words
/// as in [`raise`].
pub fn raise_for(alert: &Alert, cause: &str, about: impl fmt::Display) {
    tracing::error!(
        target: "alert",
        alert = alert.name,
        severity = alert.severity.as_str(),
        "{}: {about}",
        alert.meaning
    );
    if let Some(place) = place(alert) {
        RAISED[place].fetch_add(1, Ordering::Relaxed);
    }
    telemetry::note(alert, cause, about.to_string());
}

/// Alerts about what meets us again and again until somebody has mended it: each is raised once and then not for a while,
/// whatever it meets meanwhile. Each process has its own, so that none that dies takes the word with it.
#[derive(Debug)]
pub struct Quiet {
    period: Duration,
    raised: Mutex<BTreeMap<(&'static str, String), Instant>>,
}

impl Quiet {
    /// Quiet for this long after each alert.
    pub const fn new(period: Duration) -> Self {
        Self {
            period,
            raised: Mutex::new(BTreeMap::new()),
        }
    }

    /// Raises the alert, unless it was raised for this cause a while ago.
    pub fn raise(&self, alert: &Alert, cause: &str, about: impl fmt::Display) {
        if self.is_due(alert, cause, Instant::now()) {
            raise_for(alert, cause, about);
        }
    }

    /// Raised again for this cause, it is about something else.
    pub fn forget(&self, alert: &Alert, cause: &str) {
        self.raised().remove(&(alert.name, cause.to_owned()));
    }

    /// Whether it was raised for this cause a while ago.
    pub(crate) fn is_quiet(&self, alert: &Alert, cause: &str, now: Instant) -> bool {
        let raised = self.raised();
        let at = raised.get(&(alert.name, cause.to_owned()));
        at.is_some_and(|at| now.saturating_duration_since(*at) < self.period)
    }

    /// Whether it was not raised for this cause for a while; from now on it was.
    pub(crate) fn is_due(&self, alert: &Alert, cause: &str, now: Instant) -> bool {
        let mut raised = self.raised();
        raised.retain(|_, at| now.saturating_duration_since(*at) < self.period);
        let key = (alert.name, cause.to_owned());
        let due = !raised.contains_key(&key);
        if due {
            raised.insert(key, now);
        }
        due
    }

    fn raised(&self) -> MutexGuard<'_, BTreeMap<(&'static str, String), Instant>> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Severity {
    /// The word in the log line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_alert_is_in_the_table_under_a_name_of_its_own() {
        let declared = include_str!("alerts.rs").matches(": Alert = Alert {").count() - 1; // this one is no alert
        assert_eq!(BTreeSet::from(NAMES).len(), declared);
        assert_eq!(ALL.len(), declared);
    }

    #[test]
    fn the_same_cause_is_told_once_in_its_period_and_another_at_once() {
        let (quiet, began) = (Quiet::new(Duration::from_mins(15)), Instant::now());
        let told = [
            (0, "a"),
            (0, "b"),
            (1, "a"),
            (899, "a"),
            (900, "a"),
            (901, "b"),
            (1_799, "a"),
            (1_800, "a"),
        ]
        .map(|(second, cause)| quiet.is_due(&PAYMENT, cause, began + Duration::from_secs(second)));
        assert_eq!(told, [true, true, false, false, true, true, false, true]);
        quiet.forget(&PAYMENT, "a");
        let later = began + Duration::from_secs(1_801);
        assert!(quiet.is_due(&PAYMENT, "a", later), "that is over, this is another");
        assert!(quiet.is_due(&PAYMENT, "c", later + Duration::from_hours(1)));
        assert_eq!(quiet.raised().len(), 1, "what is old is forgotten");
    }
}
