//! The lanes: slots of their own and at most one breaker each, so that a batch never delays a login and an open
//! circuit stops nothing but its own calls. There is no priority beyond that; a global order would starve somebody.

use poem_openapi::Enum;
use serde::{Serialize, Serializer};

use crate::resilience::breaker::BreakerKey;

/// Where a job waits. The numbers and names are those of the `lanes` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Enum)]
pub enum Lane {
    /// The token exchange of a login: somebody waits.
    #[oai(rename = "login")]
    Login,
    /// Sending a payment.
    #[oai(rename = "payment.send")]
    PaymentSend,
    /// Asking how a payment is doing.
    #[oai(rename = "payment.poll")]
    PaymentPoll,
    /// Bank reads that a user waits for.
    #[oai(rename = "balance.user")]
    BalanceUser,
    /// Balances in bulk.
    #[oai(rename = "balance.batch")]
    BalanceBatch,
    /// Calls to Sumsub.
    #[oai(rename = "kyc.call")]
    KycCall,
    /// Applying stored Sumsub events: no provider behind it.
    #[oai(rename = "kyc.apply")]
    KycApply,
    /// Planning, pruning, reconciling.
    #[oai(rename = "upkeep")]
    Upkeep,
}

impl Lane {
    /// Every lane, by number.
    pub const ALL: [Self; 8] = [
        Self::Login,
        Self::PaymentSend,
        Self::PaymentPoll,
        Self::BalanceUser,
        Self::BalanceBatch,
        Self::KycCall,
        Self::KycApply,
        Self::Upkeep,
    ];

    /// The number in the tables, 1 to 8.
    pub const fn id(self) -> i16 {
        match self {
            Self::Login => 1,
            Self::PaymentSend => 2,
            Self::PaymentPoll => 3,
            Self::BalanceUser => 4,
            Self::BalanceBatch => 5,
            Self::KycCall => 6,
            Self::KycApply => 7,
            Self::Upkeep => 8,
        }
    }

    /// The lane of a number; `None` for one this build does not know.
    pub fn from_id(id: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.id() == id)
    }

    /// The name in the `lanes` table and in metric labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::PaymentSend => "payment.send",
            Self::PaymentPoll => "payment.poll",
            Self::BalanceUser => "balance.user",
            Self::BalanceBatch => "balance.batch",
            Self::KycCall => "kyc.call",
            Self::KycApply => "kyc.apply",
            Self::Upkeep => "upkeep",
        }
    }

    /// The lane of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.name() == name)
    }

    /// The breaker in front of the lane's calls.
    pub const fn breaker(self) -> Option<BreakerKey> {
        match self {
            Self::PaymentSend | Self::PaymentPoll => Some(BreakerKey::NeonomicsPisp),
            Self::BalanceUser | Self::BalanceBatch => Some(BreakerKey::NeonomicsAisp),
            Self::KycCall => Some(BreakerKey::SumsubApi),
            Self::Login | Self::KycApply | Self::Upkeep => None,
        }
    }

    /// How many jobs of the lane one process runs at a time, unless configured otherwise.
    pub const fn default_slots(self) -> usize {
        match self {
            Self::Login => 64,
            Self::PaymentSend => 32,
            Self::PaymentPoll | Self::BalanceUser | Self::KycApply => 16,
            Self::BalanceBatch | Self::KycCall => 8,
            Self::Upkeep => 4,
        }
    }
}

/// By its name, as people know it.
impl Serialize for Lane {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use poem_openapi::types::ToJSON as _;

    use super::*;

    #[test]
    fn a_lane_is_published_by_the_name_that_people_know() {
        for lane in Lane::ALL {
            assert_eq!(lane.to_json(), Some(lane.name().into()));
        }
    }
}
