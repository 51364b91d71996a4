//! The metrics of one process, in a registry of their own: tests start several processes in one.

use std::collections::HashMap;
use std::fmt;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};

use super::{BUILD_INFO, MetricKind, MetricSpec, Process, TABLE};

/// Counts, sets and observes; shared by reference.
pub struct Metrics {
    process: Process,
    registry: Registry,
    series: HashMap<&'static str, Family>,
}

enum Family {
    Counter(IntCounterVec),
    Gauge(GaugeVec),
    Histogram(HistogramVec),
}

/// A row of the table that Prometheus would not accept.
#[derive(Debug, thiserror::Error)]
#[error("the table of metrics is not usable")]
pub struct MetricsError(#[from] prometheus::Error);

impl Metrics {
    /// Registers and touches what `process` sets, and the operating system's `process_…` metrics.
    /// `version` and `revision` name the build.
    pub fn new(process: Process, version: &str, revision: &str) -> Result<Self, MetricsError> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        let mut series = HashMap::new();
        for spec in TABLE
            .iter()
            .filter(|spec| spec.set_by.is_none_or(|setter| setter == process))
        {
            let family = Family::new(spec)?;
            registry.register(family.collector())?;
            for values in spec.series() {
                family.touch(spec, &values)?;
            }
            series.insert(spec.name, family);
        }
        let metrics = Self {
            process,
            registry,
            series,
        };
        metrics.set(&BUILD_INFO, &[version, revision], 1.0);
        Ok(metrics)
    }

    /// Makes a series appear with its first value; for labels whose values are known to the process only.
    pub fn touch(&self, spec: &MetricSpec, values: &[&str]) {
        if let Some(family) = self.family(spec, values) {
            self.report(spec, &family.touch(spec, values));
        }
    }

    /// Adds one to a counter.
    pub fn count(&self, spec: &MetricSpec, values: &[&str]) {
        self.count_more(spec, values, 1);
    }

    /// Adds as many to a counter.
    pub fn count_more(&self, spec: &MetricSpec, values: &[&str], more: u64) {
        match self.family(spec, values) {
            Some(Family::Counter(vec)) => {
                self.report(
                    spec,
                    &vec.get_metric_with_label_values(values)
                        .map(|counter| counter.inc_by(more)),
                );
            }
            Some(_) => self.misused(spec),
            None => {}
        }
    }

    /// Sets a gauge.
    pub fn set(&self, spec: &MetricSpec, values: &[&str], to: f64) {
        match self.family(spec, values) {
            Some(Family::Gauge(vec)) => {
                self.report(
                    spec,
                    &vec.get_metric_with_label_values(values).map(|gauge| gauge.set(to)),
                );
            }
            Some(_) => self.misused(spec),
            None => {}
        }
    }

    /// Adds to a gauge that several tasks move, such as requests in flight.
    pub fn add(&self, spec: &MetricSpec, values: &[&str], by: f64) {
        match self.family(spec, values) {
            Some(Family::Gauge(vec)) => {
                self.report(
                    spec,
                    &vec.get_metric_with_label_values(values).map(|gauge| gauge.add(by)),
                );
            }
            Some(_) => self.misused(spec),
            None => {}
        }
    }

    /// Records one observation, in the unit that the name ends in.
    pub fn observe(&self, spec: &MetricSpec, values: &[&str], value: f64) {
        match self.family(spec, values) {
            Some(Family::Histogram(vec)) => {
                self.report(
                    spec,
                    &vec.get_metric_with_label_values(values)
                        .map(|histogram| histogram.observe(value)),
                );
            }
            Some(_) => self.misused(spec),
            None => {}
        }
    }

    /// Takes a gauge out of the answer: its source could not be read, and an old value would lie.
    pub fn withdraw(&self, spec: &MetricSpec) {
        if let Some(Family::Gauge(vec)) = self.series.get(spec.name) {
            vec.reset();
        }
    }

    /// The value of a counter or gauge, for tests and the operator's page; `None` when there is no such series.
    pub fn value(&self, spec: &MetricSpec, values: &[&str]) -> Option<f64> {
        let found = self.values(spec).into_iter().find(|(labels, _)| labels == values);
        found.map(|(_, value)| value)
    }

    /// Every series of a counter or gauge: the values of its labels, in the table's order, and its own.
    pub fn values(&self, spec: &MetricSpec) -> Vec<(Vec<String>, f64)> {
        let Some(family) = self.series.get(spec.name) else {
            return Vec::new();
        };
        let mut values = Vec::new();
        for family in family.collector().collect() {
            for metric in family.get_metric() {
                let label = |name: &&str| {
                    let pair = metric.get_label().iter().find(|pair| pair.name() == *name);
                    pair.map(|pair| pair.value().to_owned()).unwrap_or_default()
                };
                let value = match spec.kind {
                    MetricKind::Counter => metric.get_counter().get_value(),
                    MetricKind::Gauge(_) => metric.get_gauge().get_value(),
                    MetricKind::Histogram(_) => continue,
                };
                values.push((spec.labels().iter().map(label).collect(), value));
            }
        }
        values
    }

    /// Everything in Prometheus' text format 0.0.4.
    pub fn render(&self) -> Result<String, MetricsError> {
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }

    fn family(&self, spec: &MetricSpec, values: &[&str]) -> Option<&Family> {
        let family = self.series.get(spec.name);
        if family.is_none() {
            tracing::error!(metric = spec.name, process = ?self.process, "a metric is not one of this process");
        } else if !spec.allows(values) {
            // The value itself stays out: it is unexpected, so it could be anything.
            tracing::error!(metric = spec.name, "a label value is not in the table of metrics");
            return None;
        }
        family
    }

    fn report(&self, spec: &MetricSpec, result: &Result<(), prometheus::Error>) {
        if result.is_err() {
            self.misused(spec);
        }
    }

    fn misused(&self, spec: &MetricSpec) {
        tracing::error!(metric = spec.name, process = ?self.process, "a metric is not used as the table declares it");
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

impl Family {
    fn new(spec: &MetricSpec) -> Result<Self, prometheus::Error> {
        let labels = spec.labels();
        Ok(match spec.kind {
            MetricKind::Counter => Self::Counter(IntCounterVec::new(Opts::new(spec.name, spec.help), &labels)?),
            MetricKind::Gauge(_) => Self::Gauge(GaugeVec::new(Opts::new(spec.name, spec.help), &labels)?),
            MetricKind::Histogram(buckets) => {
                let options = HistogramOpts::new(spec.name, spec.help).buckets(buckets.to_vec());
                Self::Histogram(HistogramVec::new(options, &labels)?)
            }
        })
    }

    fn collector(&self) -> Box<dyn Collector> {
        match self {
            Self::Counter(vec) => Box::new(vec.clone()),
            Self::Gauge(vec) => Box::new(vec.clone()),
            Self::Histogram(vec) => Box::new(vec.clone()),
        }
    }

    fn touch(&self, spec: &MetricSpec, values: &[&str]) -> Result<(), prometheus::Error> {
        match self {
            Self::Counter(vec) => vec.get_metric_with_label_values(values).map(drop),
            Self::Histogram(vec) => vec.get_metric_with_label_values(values).map(drop),
            Self::Gauge(vec) => {
                let gauge = vec.get_metric_with_label_values(values)?;
                if let MetricKind::Gauge(first) = spec.kind {
                    gauge.set(first);
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::*;
    use crate::domain::{
        kyc::Decision,
        login::{LoginFailure, LoginStatus},
    };
    use crate::storage::ErrorClass;

    fn api() -> Metrics {
        Metrics::new(Process::Api, "0.1.0", "unknown").unwrap()
    }

    fn worker() -> Metrics {
        Metrics::new(Process::Worker, "0.1.0", "unknown").unwrap()
    }

    #[test]
    fn every_declared_series_is_there_before_anything_happened() {
        let text = worker().render().unwrap();
        assert!(
            text.contains("bankid_login_errors_total{reason=\"code_refused\"} 0"),
            "{text}"
        );
        assert!(text.contains("pisp_circuit_open 0"), "{text}");
        assert!(text.contains("kyc_approval_rate NaN"), "{text}");
        assert!(text.contains("process_open_fds"), "{text}");
        assert!(
            text.contains("drop_build_info{revision=\"unknown\",version=\"0.1.0\"} 1"),
            "{text}"
        );
    }

    #[test]
    fn a_process_shows_only_what_it_sets() {
        let text = api().render().unwrap();
        assert!(!text.contains("\npisp_circuit_open") && text.contains("sumsub_webhook_failures_total"));
    }

    #[test]
    fn the_contracts_seven_names_are_all_there() {
        let names: Vec<&str> = TABLE.iter().map(|spec| spec.name).collect();
        for name in [
            "bankid_login_errors_total",
            "bankid_underage_rejections_total",
            "pisp_payment_failures_total",
            "pisp_circuit_open",
            "sumsub_webhook_failures_total",
            "aisp_balance_staleness_hours",
            "kyc_approval_rate",
        ] {
            assert!(names.contains(&name), "{name}");
        }
    }

    #[test]
    fn names_follow_the_rule_and_are_unique() {
        let mut seen = std::collections::HashSet::new();
        for spec in TABLE {
            assert!(seen.insert(spec.name), "{} twice", spec.name);
            assert!(!spec.help.is_empty());
            assert_eq!(
                spec.name.ends_with("_total"),
                spec.kind == MetricKind::Counter,
                "{}",
                spec.name
            );
            if let MetricKind::Histogram(edges) = spec.kind {
                let unit = spec.name.ends_with("_seconds") || spec.name.ends_with("_size");
                assert!(unit && edges.is_sorted(), "{}", spec.name);
            }
        }
    }

    #[test]
    fn a_label_value_outside_the_table_is_not_counted() {
        let metrics = worker();
        metrics.count(&BANKID_LOGIN_ERRORS, &["bankid_error"]);
        metrics.count(&BANKID_LOGIN_ERRORS, &["someone@example.com"]);
        metrics.count(&PROVIDER_REQUESTS, &["sumsub", "token", "ok"]);
        assert_eq!(metrics.value(&BANKID_LOGIN_ERRORS, &["bankid_error"]), Some(1.0));
        let text = metrics.render().unwrap();
        assert!(!text.contains("someone") && !text.contains("operation=\"token\",outcome=\"ok\",provider=\"sumsub\""));
    }

    #[test]
    fn a_login_has_an_outcome_for_every_way_to_end() {
        let ends = LoginFailure::ALL.iter().map(|failure| failure.code());
        let ends: BTreeSet<_> = ends.chain([LoginStatus::Succeeded.as_str()]).collect();
        let outcomes: BTreeSet<_> = LOGINS.series().into_iter().flatten().collect();
        assert_eq!(outcomes, ends);
    }

    #[test]
    fn a_review_and_an_error_of_the_database_have_an_outcome_for_every_one_there_is() {
        // Neither of the other two changes how a person stands.
        let decisions = Decision::ALL
            .iter()
            .filter(|decision| !matches!(decision, Decision::Pending | Decision::Hold));
        let decisions: Vec<_> = decisions.map(|decision| vec![decision.as_str()]).collect();
        assert_eq!(KYC_REVIEWS.series(), decisions);
        assert_eq!(DB_ERRORS.series(), ErrorClass::ALL.map(|class| vec![class.as_str()]));
    }

    #[test]
    fn a_withdrawn_gauge_disappears_until_it_is_set_again() {
        let metrics = worker();
        metrics.withdraw(&BALANCE_STALENESS_HOURS);
        assert_eq!(metrics.value(&BALANCE_STALENESS_HOURS, &[]), None);
        metrics.set(&BALANCE_STALENESS_HOURS, &[], 2.5);
        assert_eq!(metrics.value(&BALANCE_STALENESS_HOURS, &[]), Some(2.5));
    }
}
