//! A payment's states and what moves it (contract 3.3).
//!
//! Only what the bank says, a definite refusal, proof that nothing was sent, or the SCA deadline changes a payment; a
//! callback never does. `failed(sca_timeout)` is the one soft failure: the bank may still complete it.

use super::bank_status::{BankStatus, Ending, Group};
use super::words::closed_words;

closed_words! {
    /// What the person sees.
    PaymentStatus, "payment status";
    /// On its way, or not known.
    Processing = "processing",
    /// Accepted or settled at the bank.
    Completed = "completed",
    /// Ended without payment; the reason says how sure that is.
    Failed = "failed",
    /// Taken back before execution.
    Cancelled = "cancelled",
}

closed_words! {
    /// Why a payment failed.
    FailureReason, "failure reason";
    /// The bank reported RJCT.
    BankRejected = "bank_rejected",
    /// Provably never sent, and too old to be sent now.
    NotSent = "not_sent",
    /// No approval in time. Soft until the bank is final.
    ScaTimeout = "sca_timeout",
    /// The bank refused it with 429.
    RateLimited = "rate_limited",
    /// The bank refused the order.
    Refused = "refused",
    /// The consent is dead; the person links the bank again.
    ConsentExpired = "consent_expired",
    /// The person was no longer verified when it was to be sent.
    KycRequired = "kyc_required",
}

closed_words! {
    /// What became of the person's wish to take a payment back.
    Cancellation, "cancellation";
    /// Not answered yet.
    Requested = "requested",
    /// The payment is cancelled.
    Done = "done",
    /// The bank does not cancel it any more, or it was over.
    Refused = "refused",
    /// The bank did not say: it may still be paid.
    Unconfirmed = "unconfirmed",
}

closed_words! {
    /// What operations are told about.
    PaymentAlert, "payment alert";
    /// The person saw `completed`, and then the bank rejected or cancelled.
    ProvisionalReversed = "provisional_reversed",
    /// The person saw it end without payment, and then the bank settled it.
    LateCompletion = "late_completion",
    /// The bank changed its final word. Nothing is flipped.
    Conflict = "conflict",
    /// A code that we do not know.
    Unknown = "unknown",
    /// The person saw it end without payment, and then the bank accepted it.
    Revived = "revived",
    /// Not final after seven days.
    Unresolved = "unresolved",
    /// The bank refused to cancel a payment that it had not accepted.
    CancelRefused = "cancel_refused",
    /// The bank accepted it with another amount, currency or day than was ordered, or will not say with which.
    AcceptedWithChange = "accepted_with_change",
    /// The bank took the order after it had answered 500, 502 or 503 to it: it may have made two payments of one key.
    AcceptedAfterFailure = "accepted_after_failure",
    /// The bank took the order, and its id there could not be stored.
    NotRecorded = "not_recorded",
}

/// The four columns that say where a payment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaymentState {
    /// What the person sees.
    pub status: PaymentStatus,
    /// Set exactly when `status` is `failed`.
    pub reason: Option<FailureReason>,
    /// The last code that was taken from the bank.
    pub bank_status: Option<BankStatus>,
    /// Nothing more comes from the bank: polling stops. Also set where no payment exists at the bank.
    pub bank_final: bool,
}

/// What an event did to a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// The state after it.
    pub state: PaymentState,
    /// Any column changed: write the row and one audit row.
    pub changed: bool,
    /// The status that the person sees changed: one notification.
    pub status_changed: bool,
    /// Tell operations.
    pub alert: Option<PaymentAlert>,
}

impl PaymentState {
    /// A payment that was just written.
    pub const fn new() -> Self {
        Self {
            status: PaymentStatus::Processing,
            reason: None,
            bank_status: None,
            bank_final: false,
        }
    }

    /// Takes a code that was read from the bank. `provisional` is `PISP_PROVISIONAL_COMPLETED`: the codes that show the
    /// person `completed` before the bank is final.
    #[must_use]
    pub fn on_bank_code(self, code: &str, provisional: &[BankStatus]) -> Transition {
        let Ok(code) = code.parse::<BankStatus>() else {
            return self.to(self, Some(PaymentAlert::Unknown));
        };
        match code.group() {
            Group::Final(ending) if self.bank_final => self.on_second_ending(code, ending),
            Group::Final(ending) => self.on_ending(code, ending),
            Group::Early | Group::Accepted if self.bank_final || self.is_behind(code) => self.to(self, None),
            group @ (Group::Early | Group::Accepted) => self.on_progress(code, group == Group::Accepted, provisional),
        }
    }

    /// The SCA deadline has passed, and the bank was asked. Only a payment that the bank has not accepted
    /// fails; the bank may still complete it.
    #[must_use]
    pub fn on_sca_timeout(self) -> Transition {
        if self.is_open() && self.is_early() {
            self.to(
                Self {
                    status: PaymentStatus::Failed,
                    reason: Some(FailureReason::ScaTimeout),
                    ..self
                },
                None,
            )
        } else {
            self.to(self, None)
        }
    }

    /// The order was refused for certain, by the bank or by us: no payment exists at the bank. Does nothing once the bank
    /// has reported a code.
    #[must_use]
    pub fn on_refused(self, reason: FailureReason) -> Transition {
        if self.is_open() && self.bank_status.is_none() {
            self.to(
                Self {
                    status: PaymentStatus::Failed,
                    reason: Some(reason),
                    bank_final: true,
                    ..self
                },
                None,
            )
        } else {
            self.to(self, None)
        }
    }

    /// The order was provably never sent, and its time is over.
    #[must_use]
    pub fn on_not_sent(self) -> Transition {
        self.on_refused(FailureReason::NotSent)
    }

    /// The person takes back what provably never left: no payment exists at the bank. Does nothing once the bank has
    /// reported a code.
    #[must_use]
    pub fn on_taken_back(self) -> Transition {
        if self.is_open() && self.bank_status.is_none() {
            self.to(
                Self {
                    status: PaymentStatus::Cancelled,
                    bank_final: true,
                    ..self
                },
                None,
            )
        } else {
            self.to(self, None)
        }
    }

    /// The bank took the withdrawal that the person asked for (204); its next word makes it final. A payment that they
    /// were told is completed stays so until then.
    #[must_use]
    pub fn on_withdrawn(self) -> Transition {
        if self.is_open() {
            self.to(
                Self {
                    status: PaymentStatus::Cancelled,
                    ..self
                },
                None,
            )
        } else {
            self.to(self, None)
        }
    }

    /// After the bank took a cancellation (204) it no longer knows the payment (404), which confirms the end.
    #[must_use]
    pub fn on_gone_after_cancel(self) -> Transition {
        let ended = self.status == PaymentStatus::Cancelled || self.reason == Some(FailureReason::ScaTimeout);
        self.to(
            Self {
                bank_final: self.bank_final || ended,
                ..self
            },
            None,
        )
    }

    /// Whether the bank has reported nothing yet, or nothing that means acceptance.
    pub const fn is_early(self) -> bool {
        match self.bank_status {
            None => true,
            Some(code) => matches!(code.group(), Group::Early),
        }
    }

    /// Not approved in time; the bank may still settle it.
    pub fn is_timed_out(&self) -> bool {
        self.reason == Some(FailureReason::ScaTimeout) && !self.bank_final
    }

    /// Neither completed nor ended, as the person sees it.
    pub const fn is_processing(&self) -> bool {
        matches!(self.status, PaymentStatus::Processing)
    }

    fn is_open(self) -> bool {
        self.status == PaymentStatus::Processing && !self.bank_final
    }

    fn is_behind(self, code: BankStatus) -> bool {
        code.rank() < self.bank_status.and_then(BankStatus::rank)
    }

    fn on_ending(self, code: BankStatus, ending: Ending) -> Transition {
        let timed_out = self.reason == Some(FailureReason::ScaTimeout);
        let (status, reason) = match ending {
            Ending::Settled => (PaymentStatus::Completed, None),
            Ending::Rejected => (PaymentStatus::Failed, Some(FailureReason::BankRejected)),
            // The cancellation is our own, made because of the timeout: the person has been told that already.
            Ending::Cancelled if timed_out => (PaymentStatus::Failed, self.reason),
            Ending::Cancelled => (PaymentStatus::Cancelled, None),
        };
        let alert = match (self.status, ending) {
            (PaymentStatus::Failed | PaymentStatus::Cancelled, Ending::Settled) => Some(PaymentAlert::LateCompletion),
            (PaymentStatus::Completed, Ending::Rejected | Ending::Cancelled) => Some(PaymentAlert::ProvisionalReversed),
            (PaymentStatus::Processing | PaymentStatus::Completed, Ending::Settled)
            | (
                PaymentStatus::Processing | PaymentStatus::Failed | PaymentStatus::Cancelled,
                Ending::Rejected | Ending::Cancelled,
            ) => None,
        };
        self.to(
            Self {
                status,
                reason,
                bank_status: Some(code),
                bank_final: true,
            },
            alert,
        )
    }

    fn on_second_ending(self, code: BankStatus, ending: Ending) -> Transition {
        let agrees = match self.bank_status.map(BankStatus::group) {
            Some(Group::Final(first)) => first == ending,
            // Final without a final code: it never existed at the bank, or was gone after its cancellation.
            Some(Group::Early | Group::Accepted) | None => ending != Ending::Settled,
        };
        if !agrees {
            return self.to(self, Some(PaymentAlert::Conflict));
        }
        let further = ending == Ending::Settled && !self.is_behind(code);
        self.to(
            if further {
                Self {
                    bank_status: Some(code),
                    ..self
                }
            } else {
                self
            },
            None,
        )
    }

    fn on_progress(self, code: BankStatus, accepted: bool, provisional: &[BankStatus]) -> Transition {
        let moved = Self {
            bank_status: Some(code),
            ..self
        };
        match self.status {
            // Whoever was told that it ended without payment must hear that it lives.
            PaymentStatus::Failed | PaymentStatus::Cancelled if accepted => self.to(
                Self {
                    status: PaymentStatus::Processing,
                    reason: None,
                    ..moved
                },
                Some(PaymentAlert::Revived),
            ),
            PaymentStatus::Processing if provisional.contains(&code) => self.to(
                Self {
                    status: PaymentStatus::Completed,
                    ..moved
                },
                None,
            ),
            PaymentStatus::Processing | PaymentStatus::Completed | PaymentStatus::Failed | PaymentStatus::Cancelled => {
                self.to(moved, None)
            }
        }
    }

    fn to(self, state: Self, alert: Option<PaymentAlert>) -> Transition {
        Transition {
            state,
            changed: state != self,
            status_changed: state.status != self.status,
            alert,
        }
    }
}

impl Default for PaymentState {
    fn default() -> Self {
        Self::new()
    }
}
