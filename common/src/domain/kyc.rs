//! What a Sumsub event does to a person's verification (contract 3.4).
//!
//! Events repeat, come late and out of order. The provider's time orders them, and an event is compared with the current
//! decision, not with any past one: a result that comes again after another is news.

use chrono::{DateTime, TimeDelta, Utc};

use super::words::closed_words;

/// An event's own time may lie this far ahead of its arrival; beyond it the arrival counts.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(10);

closed_words! {
    /// `users.kyc_status`. Only `approved` may move money.
    KycStatus, "kyc status";
    /// Not yet, or no longer, verified.
    Pending = "pending",
    /// Verified.
    Approved = "approved",
    /// Refused for good.
    Rejected = "rejected",
}

closed_words! {
    /// What an event decides.
    Decision, "kyc decision";
    /// Verified (GREEN).
    Approved = "approved",
    /// Refused for good (RED).
    Rejected = "rejected",
    /// The person must try again.
    Retry = "retry",
    /// The review starts from the beginning.
    Reset = "reset",
    /// The applicant was deactivated.
    Suspend = "suspend",
    /// A review is waiting or running.
    Pending = "pending",
    /// A person at the provider is looking at it.
    Hold = "hold",
}

impl Decision {
    /// The decision in an event, if any. The type decides before the result: only a completed review approves or
    /// rejects, and a result carried by another type is ignored. Unknown words decide nothing.
    pub fn of(
        event_type: &str,
        review_status: Option<&str>,
        answer: Option<&str>,
        reject_type: Option<&str>,
    ) -> Option<Self> {
        match (event_type, review_status) {
            ("applicantReviewed" | "applicantWorkflowCompleted", None | Some("completed")) => {
                Self::of_review(answer, reject_type)
            }
            ("applicantReset", _) => Some(Self::Reset),
            ("applicantPending" | "applicantPrechecked", _) => Some(Self::Pending),
            ("applicantOnHold", _) => Some(Self::Hold),
            ("applicantDeactivated", _) => Some(Self::Suspend),
            _ => None,
        }
    }

    fn of_review(answer: Option<&str>, reject_type: Option<&str>) -> Option<Self> {
        match (answer, reject_type) {
            (Some("GREEN"), _) => Some(Self::Approved),
            // The contract has RETRY as an answer; the provider sends RED with a reject type.
            (Some("RETRY"), _) | (Some("RED"), Some("RETRY")) => Some(Self::Retry),
            (Some("RED"), _) => Some(Self::Rejected),
            _ => None,
        }
    }

    /// The status this decision sets; `None` leaves it as it is.
    pub const fn status(self) -> Option<KycStatus> {
        match self {
            Self::Approved => Some(KycStatus::Approved),
            Self::Rejected => Some(KycStatus::Rejected),
            Self::Retry | Self::Reset | Self::Suspend => Some(KycStatus::Pending),
            Self::Pending | Self::Hold => None,
        }
    }

    /// What the person is told (the first three titles are the contract's). No text reveals a suspicion.
    pub const fn notice(self) -> Option<Notice> {
        let (title, body) = match self {
            Self::Approved => ("Du er nå verifisert", "Nå kan du koble til banken din og betale."),
            Self::Rejected => (
                "Verifisering avslått",
                "Vi kan dessverre ikke verifisere deg. Ta kontakt med kundeservice hvis du har spørsmål.",
            ),
            Self::Retry => (
                "Vennligst prøv igjen",
                "Vi trenger nye bilder eller opplysninger fra deg. Åpne appen og fortsett verifiseringen.",
            ),
            Self::Reset => (
                "Du må verifisere deg på nytt",
                "Åpne appen og gå gjennom verifiseringen én gang til. Du kan ikke betale før det er gjort.",
            ),
            Self::Suspend => (
                "Verifiseringen din er satt på pause",
                "Du kan ikke betale så lenge. Ta kontakt med kundeservice.",
            ),
            Self::Pending | Self::Hold => return None,
        };
        Some(Notice { title, body })
    }

    /// Whether Sumsub is the one to act: the person waits.
    pub const fn is_in_review(self) -> bool {
        matches!(self, Self::Pending | Self::Hold)
    }
}

/// What a person is told of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// One line.
    pub title: &'static str,
    /// What it means for them.
    pub body: &'static str,
}

/// The types of events that Sumsub is known to send, `status` for what it said when it was asked, and `other`: the words
/// that metrics may hold.
pub const EVENT_TYPES: &[&str] = &[
    "applicantCreated",
    "applicantPending",
    "applicantPrechecked",
    "applicantReviewed",
    "applicantWorkflowCompleted",
    "applicantOnHold",
    "applicantAwaitingUser",
    "applicantAwaitingService",
    "applicantReset",
    "applicantDeactivated",
    "applicantActivated",
    "applicantDeleted",
    "applicantPersonalDataDeleted",
    "applicantLevelChanged",
    "applicantPersonalInfoChanged",
    "applicantTagsChanged",
    "applicantActionPending",
    "applicantActionReviewed",
    "applicantActionOnHold",
    STATUS,
    OTHER,
];
/// The type under which the answer to a question of ours is stored.
pub const STATUS: &str = "status";
const OTHER: &str = "other";

/// The event's type, if it is a known one, or `other`.
pub fn event_word(event_type: &str) -> &'static str {
    let known = EVENT_TYPES.iter().find(|known| **known == event_type);
    known.copied().unwrap_or(OTHER)
}

/// Where a person's verification stands: the locked row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What the rest of Drop sees.
    pub status: KycStatus,
    /// The last decision that was taken up.
    pub last_decision: Option<Decision>,
    /// The watermark: the provider's time of the last decision that was applied.
    pub last_event_at: Option<DateTime<Utc>>,
}

impl Standing {
    /// A new applicant of a person who stands at `status`.
    pub const fn fresh(status: KycStatus) -> Self {
        Self {
            status,
            last_decision: None,
            last_event_at: None,
        }
    }
}

/// What became of an event, and what else its time calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The effect on the person.
    pub applied: Applied,
    /// The time the event counts as having.
    pub event_at: DateTime<Utc>,
    /// The event claimed a time too far ahead: operations want to know.
    pub clock_alert: bool,
    /// Two events have the same time, so the order of arrival may be wrong: ask the provider for the status.
    pub read_status: bool,
}

/// The effect of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// A new decision: row, screening result, audit and one notification.
    NewState {
        /// The row after it.
        standing: Standing,
        /// What the person is told.
        notice: Notice,
    },
    /// The decision that already stands: the watermark moves, audit, nothing else.
    SameState {
        /// The row after it.
        standing: Standing,
    },
    /// Older than what was applied: audit only.
    Stale,
    /// Pending or hold: audit, the status and the watermark stay.
    AuditOnly {
        /// The row after it.
        standing: Standing,
        /// A new attempt has begun, so the row's last decision changes.
        opens_attempt: bool,
    },
    /// The event decides nothing.
    Recorded,
}

/// Applies one event to the row. `event_at` is the provider's time, where it gave one.
pub fn apply(
    standing: Standing,
    decision: Option<Decision>,
    event_at: Option<DateTime<Utc>>,
    received_at: DateTime<Utc>,
) -> Outcome {
    let clock_alert = event_at.is_some_and(|at| at > received_at + CLOCK_TOLERANCE);
    let at = event_at.filter(|_| !clock_alert).unwrap_or(received_at);
    let outcome = |applied, read_status| Outcome {
        applied,
        event_at: at,
        clock_alert,
        read_status,
    };
    let Some(decision) = decision else {
        return outcome(Applied::Recorded, false);
    };
    if standing.last_event_at.is_some_and(|last| at < last) {
        return outcome(Applied::Stale, false);
    }
    outcome(decide(standing, decision, at), standing.last_event_at == Some(at))
}

fn decide(standing: Standing, decision: Decision, at: DateTime<Utc>) -> Applied {
    let (Some(status), Some(notice)) = (decision.status(), decision.notice()) else {
        // The watermark stays, or an approval that comes late behind a newer pending would be lost.
        let opens_attempt = matches!(standing.last_decision, None | Some(Decision::Retry | Decision::Reset));
        let last_decision = if opens_attempt {
            Some(decision)
        } else {
            standing.last_decision
        };
        return Applied::AuditOnly {
            standing: Standing {
                last_decision,
                ..standing
            },
            opens_attempt,
        };
    };
    // A reset that is told again after the attempt that it asked for has begun. A second one of its very moment is the same.
    let has_begun = matches!(standing.last_decision, Some(Decision::Pending | Decision::Hold));
    if decision == Decision::Reset && has_begun && standing.last_event_at == Some(at) {
        return Applied::SameState { standing };
    }
    // Each retry asks the person to act again, so it is never the same state.
    if standing.last_decision == Some(decision) && decision != Decision::Retry {
        return Applied::SameState {
            standing: Standing {
                last_event_at: Some(at),
                ..standing
            },
        };
    }
    let standing = Standing {
        status,
        last_decision: Some(decision),
        last_event_at: Some(at),
    };
    Applied::NewState { standing, notice }
}
