//! The bank's transaction status codes (ISO 20022, external code set of payment statuses). The list is open: a code
//! that is not here is unknown, changes nothing and is counted.

use super::words::closed_words;

closed_words! {
    /// A code that we know, in the order of a payment's way.
    BankStatus, "bank status";
    /// Received.
    Received = "RCVD",
    /// Pending.
    Pending = "PDNG",
    /// Some of several approvals are done.
    PartiallyAuthorised = "PATC",
    /// Technically valid.
    TechnicallyValid = "ACTC",
    /// The customer profile was checked, before execution. Not final, whatever it looks like.
    ProfileChecked = "ACCP",
    /// Funds checked.
    FundsChecked = "ACFC",
    /// Accepted with a change: amount or date may differ.
    AcceptedWithChange = "ACWC",
    /// In execution.
    InExecution = "ACSP",
    /// Accepted, not yet posted.
    NotYetPosted = "ACWP",
    /// Settled on the debtor's account.
    Settled = "ACSC",
    /// Settled on the creditor's account.
    SettledAtCreditor = "ACCC",
    /// Rejected; also when the approval is not done in time.
    Rejected = "RJCT",
    /// Cancelled before execution.
    Cancelled = "CANC",
}

/// What a code means for the payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Before the person's approval counts.
    Early,
    /// Accepted by the bank and on its way.
    Accepted,
    /// The bank will not change it again.
    Final(Ending),
}

/// How a payment ended at the bank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The money moved.
    Settled,
    /// The bank said no.
    Rejected,
    /// Taken back before execution.
    Cancelled,
}

impl BankStatus {
    /// What the code means.
    pub const fn group(self) -> Group {
        match self {
            Self::Received | Self::Pending | Self::PartiallyAuthorised | Self::TechnicallyValid => Group::Early,
            Self::ProfileChecked
            | Self::FundsChecked
            | Self::AcceptedWithChange
            | Self::InExecution
            | Self::NotYetPosted => Group::Accepted,
            Self::Settled | Self::SettledAtCreditor => Group::Final(Ending::Settled),
            Self::Rejected => Group::Final(Ending::Rejected),
            Self::Cancelled => Group::Final(Ending::Cancelled),
        }
    }

    /// How far along the way from RCVD to ACCC. `None` for the two codes that leave it.
    pub const fn rank(self) -> Option<u8> {
        match self {
            Self::Received => Some(0),
            Self::Pending => Some(1),
            Self::PartiallyAuthorised => Some(2),
            Self::TechnicallyValid => Some(3),
            Self::ProfileChecked => Some(4),
            Self::FundsChecked => Some(5),
            Self::AcceptedWithChange => Some(6),
            Self::InExecution => Some(7),
            Self::NotYetPosted => Some(8),
            Self::Settled => Some(9),
            Self::SettledAtCreditor => Some(10),
            Self::Rejected | Self::Cancelled => None,
        }
    }
}
