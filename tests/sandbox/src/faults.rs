//! Ways in which a provider can misbehave, queued per operation.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    locked,
    operation::{Operation, Provider},
};

/// What goes wrong with a request. In JSON: `{"kind":"status","code":503}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Fault {
    /// Answered with this status and nothing done. A text body is sent as HTML, any other as JSON.
    Status {
        /// The HTTP status, 200 to 599.
        code: u16,
        /// The body; absent means empty.
        #[serde(default)]
        body: Option<Value>,
    },
    /// 429 with `Retry-After`, nothing done.
    Limited {
        /// Seconds until the next try is welcome.
        retry_after: u64,
    },
    /// 429 with `Retry-After` and the bank's own code for too many reads of this account, nothing done.
    Exceeded {
        /// Seconds until the next read is welcome.
        retry_after: u64,
    },
    /// 307 to another address, nothing done. A client that follows it hands over its secrets.
    Redirect {
        /// The address.
        to: String,
    },
    /// Done at once, answered late. A client that gives up earlier has still caused the effect.
    Delay {
        /// Milliseconds until the answer.
        ms: u64,
    },
    /// Nothing done, never answered; the connection stays open.
    Hang,
    /// Done, answered with the usual status and a body that is not JSON.
    Garbage,
    /// Done, the answer's body stops half way and the connection closes.
    Truncate,
    /// Done, and the answer's body is followed by spaces until it has this size.
    Oversize {
        /// Bytes of the whole body.
        bytes: u64,
    },
    /// Done, and the answer's body comes one byte at a time.
    Drip {
        /// Milliseconds before each byte.
        ms: u64,
    },
    /// Nothing done, the connection closes without an answer.
    Drop,
    /// Done, the connection closes without an answer.
    ExecuteThenDrop,
    /// Done, never answered; the connection stays open.
    ExecuteThenHang,
    /// Done, answered with this bare status in place of the usual answer: a 500 after the order went through.
    ExecuteThenStatus {
        /// The HTTP status, 200 to 599.
        code: u16,
    },
}

impl Fault {
    /// A bare status.
    pub fn status(code: u16) -> Self {
        Self::Status { code, body: None }
    }

    /// Whether the request's effect happens all the same.
    pub fn executes(&self) -> bool {
        match self {
            Self::Status { .. }
            | Self::Limited { .. }
            | Self::Exceeded { .. }
            | Self::Redirect { .. }
            | Self::Hang
            | Self::Drop => false,
            Self::Delay { .. }
            | Self::Garbage
            | Self::Truncate
            | Self::Oversize { .. }
            | Self::Drip { .. }
            | Self::ExecuteThenDrop
            | Self::ExecuteThenHang
            | Self::ExecuteThenStatus { .. } => true,
        }
    }

    /// Whether the answer is the fault's own: what the provider would have said is not in it.
    pub fn invents_the_answer(&self) -> bool {
        !self.executes() || matches!(self, Self::ExecuteThenStatus { .. })
    }
}

/// A fault that is waiting for requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultRule {
    /// What it does.
    pub fault: Fault,
    /// How many more requests it hits; absent: until cleared.
    pub times: Option<u32>,
}

/// The queues, one per operation: first in, first used.
#[derive(Debug, Default)]
pub struct Faults {
    queues: Mutex<BTreeMap<Operation, VecDeque<FaultRule>>>,
}

impl Faults {
    /// Queues a fault behind those already waiting for this operation. Zero times is nothing.
    pub fn add(&self, operation: Operation, fault: Fault, times: Option<u32>) {
        if times != Some(0) {
            locked(&self.queues)
                .entry(operation)
                .or_default()
                .push_back(FaultRule { fault, times });
        }
    }

    /// Forgets the faults of one provider, or of all.
    pub fn clear(&self, provider: Option<Provider>) {
        locked(&self.queues).retain(|operation, _| provider.is_some_and(|provider| operation.provider() != provider));
    }

    /// What is waiting at one provider.
    pub fn waiting(&self, provider: Provider) -> Vec<(Operation, FaultRule)> {
        let queues = locked(&self.queues);
        let of_provider = queues.iter().filter(|(operation, _)| operation.provider() == provider);
        of_provider
            .flat_map(|(operation, rules)| rules.iter().map(|rule| (*operation, rule.clone())))
            .collect()
    }

    /// The fault that hits the request now at hand.
    pub(crate) fn take(&self, operation: Operation) -> Option<Fault> {
        let mut queues = locked(&self.queues);
        let queue = queues.get_mut(&operation)?;
        let rule = queue.front_mut()?;
        let fault = rule.fault.clone();
        if let Some(times) = &mut rule.times {
            *times -= 1;
            if *times == 0 {
                queue.pop_front();
            }
        }
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_used_in_order_and_the_last_without_a_count_stays() {
        let faults = Faults::default();
        faults.add(Operation::Payment, Fault::status(500), Some(2));
        faults.add(Operation::Payment, Fault::Drop, None);
        let used: Vec<_> = (0..4).map(|_| faults.take(Operation::Payment)).collect();
        assert_eq!(
            used,
            [
                Some(Fault::status(500)),
                Some(Fault::status(500)),
                Some(Fault::Drop),
                Some(Fault::Drop)
            ]
        );
        assert_eq!(faults.take(Operation::Balances), None);
        faults.clear(Some(Provider::Sumsub));
        assert_eq!(faults.take(Operation::Payment), Some(Fault::Drop));
        faults.clear(Some(Provider::Neonomics));
        assert_eq!(faults.take(Operation::Payment), None);
    }
}
