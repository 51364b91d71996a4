//! Every metric, declared once: name, type, help, labels with all their values, buckets, and which process sets it.
//!
//! Labels come from closed lists. Never an id, a person, an IBAN, a raw path or a worker's name. Every series is touched
//! at start, because a counter that is born at 1 never shows an increase to an alert rule.

mod registry;
mod table;

pub use registry::{Metrics, MetricsError};
pub use table::*;

/// The commit of this build, where whoever built it told it by `DROP_REVISION`.
pub const REVISION: &str = match option_env!("DROP_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// Which binary this is; each shows only the metrics it sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// `drop-api`.
    Api,
    /// `drop-worker`.
    Worker,
}

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// Only grows; the name ends in `_total`.
    Counter,
    /// Goes up and down; begins at this value, which may be NaN for "nothing to tell".
    Gauge(f64),
    /// Observations, with the upper edges of the buckets.
    Histogram(&'static [f64]),
}

/// One label, or several whose values belong together.
#[derive(Debug, Clone, Copy)]
pub enum Axis {
    /// One label and every value it can have.
    Label(&'static str, &'static [&'static str]),
    /// Labels that vary together: each row has one value per label.
    Group(&'static [&'static str], &'static [&'static [&'static str]]),
    /// A label whose values this crate does not know; the process touches them at start, from a table of its own.
    AtStart(&'static str),
}

/// A row of the table.
#[derive(Debug)]
pub struct MetricSpec {
    /// The name Prometheus sees.
    pub name: &'static str,
    /// Type, with its buckets or first value.
    pub kind: MetricKind,
    /// One sentence for `# HELP`.
    pub help: &'static str,
    /// Labels, in the order in which callers give their values.
    pub axes: &'static [Axis],
    /// Who sets it; `None` stands for both processes.
    pub set_by: Option<Process>,
}

impl MetricSpec {
    /// Label names, in order.
    pub fn labels(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        for axis in self.axes {
            match axis {
                Axis::Label(name, _) | Axis::AtStart(name) => names.push(*name),
                Axis::Group(group, _) => names.extend_from_slice(group),
            }
        }
        names
    }

    /// Every combination of label values; none when a label's values come at start.
    pub fn series(&self) -> Vec<Vec<&'static str>> {
        self.axes.iter().fold(vec![Vec::new()], |series, axis| {
            let values: Vec<Vec<&'static str>> = match axis {
                Axis::Label(_, values) => values.iter().map(|value| vec![*value]).collect(),
                Axis::Group(_, rows) => rows.iter().map(|row| row.to_vec()).collect(),
                Axis::AtStart(_) => Vec::new(),
            };
            series
                .iter()
                .flat_map(|left| values.iter().map(|right| [left.as_slice(), right].concat()))
                .collect()
        })
    }

    /// Whether `values` is one of the declared combinations.
    fn allows(&self, values: &[&str]) -> bool {
        let mut rest = values;
        for axis in self.axes {
            let width = if let Axis::Group(names, _) = axis {
                names.len()
            } else {
                1
            };
            let Some((head, tail)) = rest.split_at_checked(width) else {
                return false;
            };
            let known = match axis {
                Axis::Label(_, known) => known.contains(&head[0]),
                Axis::Group(_, rows) => rows.contains(&head),
                Axis::AtStart(_) => true,
            };
            if !known {
                return false;
            }
            rest = tail;
        }
        rest.is_empty()
    }
}
