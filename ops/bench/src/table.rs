//! The figures of a run.

use std::collections::BTreeMap;

/// What is measured; the order is that of the printed table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    InsertWithPrimaryKey8,
    InsertLikeJobs1,
    InsertLikeJobs8,
    Enqueue1,
    Enqueue8,
    HandClaim1,
    HandClaim50,
    DrainFewSlots,
    Drain1,
    Drain2,
    Drain4,
    StartIdleP50,
    StartIdleP99,
    StartBusyP50,
    StartBusyP99,
    StartBusyLoad,
    StartWithoutWakeP50,
    StartWithoutWakeMax,
    ClaimFew,
    ClaimManyReady,
    ClaimManyLater,
    ClaimManyBlocked,
    MemoryFew,
    MemoryMany,
    Commit,
    LoginAllowed,
    LoginWhole,
    LoginAdded,
    LoginAddedP99,
    LoginAddedCommits,
    Logins,
    PaymentAllowed,
    PaymentWhole,
    PaymentAtBank,
    PaymentAdded,
    PaymentAddedP99,
    PaymentAddedCommits,
    Payments,
    BareStatement,
    CircuitAsked,
    InsertLikeInbox8,
    Accepts,
    AcceptP50,
    AcceptP99,
    AcceptLoad,
    AcceptsStopped,
    AcceptStoppedP50,
    AcceptStoppedP99,
    AcceptStoppedLoad,
    AcceptsWaiting,
    AcceptWaitingP50,
    AcceptWaitingP99,
    AcceptWaitingLoad,
    LoginCalmP95,
    LoginStormP95,
    PaymentCalmP95,
    PaymentStormP95,
    StormReads,
    StormMemory,
}

impl Figure {
    fn about(self) -> (&'static str, &'static str) {
        match self {
            Self::InsertWithPrimaryKey8 => ("insert, table with a primary key only, 8 connections", "rows/s"),
            Self::InsertLikeJobs1 => ("insert, table like jobs, 1 connection", "rows/s"),
            Self::InsertLikeJobs8 => ("insert, table like jobs, 8 connections", "rows/s"),
            Self::Enqueue1 => ("our enqueue, 1 connection", "jobs/s"),
            Self::Enqueue8 => ("our enqueue, 8 connections", "jobs/s"),
            Self::HandClaim1 => ("hand-written claim of 1", "rows/s"),
            Self::HandClaim50 => ("hand-written claim of 50", "rows/s"),
            Self::DrainFewSlots => ("our drain, 1 worker of 64 slots", "jobs/s"),
            Self::Drain1 => ("our drain, 1 worker", "jobs/s"),
            Self::Drain2 => ("our drain, 2 workers", "jobs/s"),
            Self::Drain4 => ("our drain, 4 workers", "jobs/s"),
            Self::StartIdleP50 => ("enqueue to start, idle, p50", "ms"),
            Self::StartIdleP99 => ("enqueue to start, idle, p99", "ms"),
            Self::StartBusyP50 => ("enqueue to start, half load, p50", "ms"),
            Self::StartBusyP99 => ("enqueue to start, half load, p99", "ms"),
            Self::StartBusyLoad => ("the load beside which that was, as it came", "jobs/s"),
            Self::StartWithoutWakeP50 => ("enqueue to start, no wake-up, p50", "ms"),
            Self::StartWithoutWakeMax => ("enqueue to start, no wake-up, slowest", "ms"),
            Self::ClaimFew => ("claim, few waiting, p50", "ms"),
            Self::ClaimManyReady => ("claim, many ready, p50", "ms"),
            Self::ClaimManyLater => ("claim, many later, p50", "ms"),
            Self::ClaimManyBlocked => ("claim, many behind a circuit, p50", "ms"),
            Self::MemoryFew => ("memory of a worker, after 8,000 jobs", "MiB"),
            Self::MemoryMany => ("memory of a worker, after 3 s before many", "MiB"),
            Self::Commit => ("durable commit of one row, p50", "ms"),
            Self::LoginAllowed => ("7 commits and 5 ms", "ms"),
            Self::LoginWhole => ("login, callback to answer, p50", "ms"),
            Self::LoginAdded => ("login, what we add to BankID's time, p50", "ms"),
            Self::LoginAddedP99 => ("login, what we add to BankID's time, p99", "ms"),
            Self::LoginAddedCommits => ("login, what we add, p50", "commits"),
            Self::Logins => ("complete logins, 32 at a time", "logins/s"),
            Self::PaymentAllowed => ("6 commits and 5 ms", "ms"),
            Self::PaymentWhole => ("payment, order to link, p50", "ms"),
            Self::PaymentAtBank => ("payment, the bank's time, mean", "ms"),
            Self::PaymentAdded => ("payment, what we add to the bank's time, p50", "ms"),
            Self::PaymentAddedP99 => ("payment, what we add to the bank's time, p99", "ms"),
            Self::PaymentAddedCommits => ("payment, what we add, p50", "commits"),
            Self::Payments => ("payments, 32 at a time", "payments/s"),
            Self::BareStatement => ("a statement that does nothing", "ms"),
            Self::CircuitAsked => ("whether the circuit lets a call through", "ms"),
            Self::InsertLikeInbox8 => ("insert, table like the inbox, 8 connections", "rows/s"),
            Self::Accepts => ("webhooks accepted, a worker beside them", "webhooks/s"),
            Self::AcceptP50 => ("half of that load, a worker beside it, p50", "ms"),
            Self::AcceptP99 => ("half of that load, a worker beside it, p99", "ms"),
            Self::AcceptLoad => ("that load, as it came", "webhooks/s"),
            Self::AcceptsStopped => ("webhooks accepted, no worker", "webhooks/s"),
            Self::AcceptStoppedP50 => ("half of that load, no worker, p50", "ms"),
            Self::AcceptStoppedP99 => ("half of that load, no worker, p99", "ms"),
            Self::AcceptStoppedLoad => ("that load without a worker, as it came", "webhooks/s"),
            Self::AcceptsWaiting => ("webhooks accepted, many jobs waiting", "webhooks/s"),
            Self::AcceptWaitingP50 => ("half of that load, many jobs waiting, p50", "ms"),
            Self::AcceptWaitingP99 => ("half of that load, many jobs waiting, p99", "ms"),
            Self::AcceptWaitingLoad => ("that load beside many jobs, as it came", "webhooks/s"),
            Self::LoginCalmP95 => ("login beside payments, callback to answer, p95", "ms"),
            Self::LoginStormP95 => ("the login while all balances are due, p95", "ms"),
            Self::PaymentCalmP95 => ("payment beside logins, order to link, p95", "ms"),
            Self::PaymentStormP95 => ("the payment while all balances are due, p95", "ms"),
            Self::StormReads => ("balances read meanwhile", "reads/s"),
            Self::StormMemory => ("memory of the worker meanwhile", "MiB"),
        }
    }

    /// What it is compared with, and whether less is better.
    fn against(self) -> Option<Self> {
        match self {
            Self::Enqueue1 => Some(Self::InsertLikeJobs1),
            Self::InsertWithPrimaryKey8 | Self::Enqueue8 => Some(Self::InsertLikeJobs8),
            Self::HandClaim1 | Self::DrainFewSlots | Self::Drain1 | Self::Drain2 | Self::Drain4 => {
                Some(Self::HandClaim50)
            }
            Self::LoginAdded => Some(Self::LoginAllowed),
            Self::PaymentAdded => Some(Self::PaymentAllowed),
            Self::CircuitAsked => Some(Self::BareStatement),
            Self::LoginStormP95 => Some(Self::LoginCalmP95),
            Self::PaymentStormP95 => Some(Self::PaymentCalmP95),
            Self::Accepts | Self::AcceptsStopped | Self::AcceptsWaiting => Some(Self::InsertLikeInbox8),
            Self::ClaimManyReady | Self::ClaimManyLater | Self::ClaimManyBlocked => Some(Self::ClaimFew),
            _ => None,
        }
    }
}

/// All readings of all rounds.
pub(crate) struct Table {
    settings: String,
    readings: BTreeMap<Figure, Vec<f64>>,
    claim_sizes: BTreeMap<Figure, Vec<f64>>,
}

impl Table {
    /// Without readings; `settings` says how durable the server was.
    pub(crate) fn new(settings: String) -> Self {
        Self {
            settings,
            readings: BTreeMap::new(),
            claim_sizes: BTreeMap::new(),
        }
    }

    /// One reading of one round.
    pub(crate) fn add(&mut self, figure: Figure, value: f64) {
        progress(&format!(
            "  {:<55} {value:>12.2} {}",
            figure.about().0,
            figure.about().1
        ));
        self.readings.entry(figure).or_default().push(value);
    }

    /// One reading of one round, from claims of so many jobs each.
    pub(crate) fn add_with_claims(&mut self, figure: Figure, value: f64, jobs_a_claim: f64) {
        self.add(figure, value);
        self.claim_sizes.entry(figure).or_default().push(jobs_a_claim);
    }

    /// The latest reading.
    pub(crate) fn last(&self, figure: Figure) -> Option<f64> {
        self.readings.get(&figure)?.last().copied()
    }

    /// Prints medians, ranges and ratios. A ratio is the median of the rounds' ratios: both readings of one round.
    #[expect(clippy::print_stdout, reason = "the table is what this program is for")]
    pub(crate) fn print(&self) {
        println!("\n{}\n", self.settings);
        println!("| | median | range | | of | ratio |\n|---|---:|---:|---|---|---:|");
        for (figure, readings) in &self.readings {
            let (what, unit) = figure.about();
            let size = self.claim_sizes.get(figure).map_or_else(String::new, |sizes| {
                format!(", {:.1} jobs a claim", percentile(sizes, 0.5))
            });
            let (least, most) = (percentile(readings, 0.0), percentile(readings, 1.0));
            let ratio = figure.against().and_then(|other| {
                let ratios: Vec<f64> = readings
                    .iter()
                    .zip(self.readings.get(&other)?)
                    .map(|(a, b)| a / b)
                    .collect();
                Some(format!("{} | {:.2}", other.about().0, percentile(&ratios, 0.5)))
            });
            println!(
                "| {what}{size} | {:.2} | {least:.2}–{most:.2} | {unit} | {} |",
                percentile(readings, 0.5),
                ratio.unwrap_or_else(|| "|".to_owned())
            );
        }
    }
}

/// The value below which `part` of the values lie.
pub(crate) fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index into a short list"
    )]
    let at = ((sorted.len().saturating_sub(1)) as f64 * part).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Says what is going on; not a part of the result.
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn rate(count: usize, seconds: f64) -> f64 {
    count as f64 / seconds
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_values_that_were_read() {
        let values = [5.0, 1.0, 3.0, 2.0, 4.0];
        let read = [0.0, 0.5, 0.99, 1.0].map(|part| percentile(&values, part).to_string());
        assert_eq!(read, ["1", "3", "5", "5"]);
        assert!(percentile(&[], 0.5).is_nan());
    }
}
