//! What the people who run the service are shown and paged by (`ops/`) names what exists. That these files are well formed
//! is what `ops/check` looks at.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use clap::Subcommand as _;
use drop_common::{
    alerts,
    metrics::{CRON_LAST_SLOT, MetricKind, TABLE},
    queue::payloads::ALL_KINDS,
};
use drop_worker::operator::Verb;
use serde::Deserialize as _;
use serde_yaml::Value;

pub(crate) const ENVIRONMENTS: [&str; 2] = ["staging", "production"];

pub(crate) fn ops(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ops").join(path)
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of a folder with this extension.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(ops(folder)).unwrap_or_else(|error| panic!("ops/{folder}: {error}"));
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no .{extension} in ops/{folder}");
    found
}

/// The pages of all alerts: those of the rules, and those that the code raises.
fn runbooks() -> Vec<PathBuf> {
    [files("runbooks", "md"), files("runbooks/raised", "md")].concat()
}

/// A file's name without its extension.
fn stem(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}

pub(crate) fn documents(path: &Path) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(&read(path))
        .map(|document| Value::deserialize(document).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        .collect()
}

#[track_caller]
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value:?}"))
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_sequence().map_or(&[], Vec::as_slice)
}

/// About what the processes say, and about what the platform does by the clock.
const ALERTS: [&str; 2] = ["prometheus/alerts.yaml", "prometheus/alerts_platform.yaml"];

#[test]
fn prometheus_in_kubernetes_reads_every_file_of_rules() {
    let there: BTreeSet<String> = files("prometheus", "yaml").iter().map(|path| stem(path)).collect();
    let alerts = there
        .iter()
        .filter(|name| name.starts_with("alerts") && *name != "alerts_test");
    let known: BTreeSet<String> = ALERTS.iter().map(|file| stem(Path::new(file))).collect();
    assert_eq!(alerts.cloned().collect::<BTreeSet<_>>(), known, "files of alerts");
    let config = documents(&ops("prometheus/prometheus.yaml")).remove(0);
    let read = list(&config["rule_files"]).iter();
    let read: BTreeSet<&str> = read.map(|file| file.as_str().expect("a name")).collect();
    let all = ALERTS.map(|file| file.trim_start_matches("prometheus/"));
    assert_eq!(read, all.into_iter().chain(["recording.yaml"]).collect());
}

fn alert_rules() -> Vec<Value> {
    ALERTS.iter().flat_map(|file| rules(file)).collect()
}

/// The rules of a file, whatever their groups.
fn rules(file: &str) -> Vec<Value> {
    let groups = documents(&ops(file)).remove(0)["groups"].clone();
    list(&groups)
        .iter()
        .flat_map(|group| list(&group["rules"]).to_vec())
        .collect()
}

/// Every query of rules, dashboards, runbooks and scalers, with the place it is from.
fn queries() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for rule in alert_rules().iter().chain(&rules("prometheus/recording.yaml")) {
        found.push(("prometheus".to_owned(), text(rule, "expr").to_owned()));
    }
    for path in files("grafana", "json") {
        for panel in list(&documents(&path)[0]["panels"]) {
            for target in list(&panel["targets"]) {
                found.push((path.display().to_string(), text(target, "expr").to_owned()));
            }
        }
    }
    for path in runbooks() {
        let runbook = read(&path);
        let blocks = runbook.split("```promql\n").skip(1);
        let blocks = blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned());
        found.extend(blocks.map(|block| (path.display().to_string(), block)));
    }
    for environment in ENVIRONMENTS {
        for object in manifests(environment)
            .iter()
            .filter(|object| object["kind"] == "ScaledObject")
        {
            for trigger in list(&object["spec"]["triggers"]) {
                found.push((environment.to_owned(), text(&trigger["metadata"], "query").to_owned()));
            }
        }
    }
    found
}

/// The words of a query outside of its quotes: names of metrics, among others.
fn words(query: &str) -> impl Iterator<Item = &str> {
    query
        .split('"')
        .step_by(2)
        .flat_map(|part| part.split(|c: char| !(c.is_ascii_alphanumeric() || "_:".contains(c))))
        .filter(|word| !word.is_empty())
}

fn is_declared(name: &str) -> bool {
    let of_histogram = |name| {
        TABLE
            .iter()
            .any(|spec| spec.name == name && matches!(spec.kind, MetricKind::Histogram(_)))
    };
    let declared = TABLE.iter().find(|spec| spec.name == name);
    declared.is_some_and(|spec| !matches!(spec.kind, MetricKind::Histogram(_)))
        || ["_bucket", "_sum", "_count"]
            .iter()
            .any(|suffix| name.strip_suffix(suffix).is_some_and(of_histogram))
}

#[test]
fn every_metric_that_is_asked_for_exists() {
    let ours = ["drop_", "bankid_", "pisp_", "sumsub_", "aisp_", "kyc_"];
    let recorded: BTreeSet<String> = rules("prometheus/recording.yaml")
        .iter()
        .map(|rule| text(rule, "record").to_owned())
        .collect();
    let mut asked = BTreeSet::new();
    for (place, query) in queries() {
        for word in words(&query) {
            if word.starts_with("slo:") {
                assert!(recorded.contains(word), "{place}: nothing records {word}");
            } else if ours.iter().any(|prefix| word.starts_with(prefix)) {
                assert!(is_declared(word), "{place}: no metric {word}");
                asked.insert(word.to_owned());
            }
        }
        for kind in query.split("kind=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(ALL_KINDS.contains(&kind), "{place}: no kind {kind}");
        }
    }
    let contract = TABLE
        .iter()
        .map(|spec| spec.name)
        .filter(|name| !name.starts_with("drop_"));
    for name in contract {
        assert!(asked.contains(name), "nothing asks for {name}");
    }
}

#[test]
fn every_line_of_the_cron_table_is_watched() {
    let rules = alert_rules();
    let late = rules.iter().find(|rule| text(rule, "alert") == "CronLate");
    let watched = text(late.expect("an alert"), "expr");
    for name in CRON_LAST_SLOT.series().concat() {
        assert!(watched.split(['"', '|']).any(|word| word == name), "{name}");
    }
}

#[test]
fn every_alert_has_a_severity_and_a_runbook_and_every_runbook_an_alert() {
    let mut names = BTreeSet::new();
    for rule in alert_rules() {
        let name = text(&rule, "alert");
        let (labels, annotations) = (&rule["labels"], &rule["annotations"]);
        assert!(
            ["critical", "high", "medium"].contains(&text(labels, "severity")),
            "{name}"
        );
        assert_eq!(text(labels, "service"), "drop", "{name}");
        assert!(!text(annotations, "summary").is_empty() && !text(annotations, "description").is_empty());
        let address = format!("https://docs.getdrop.no/runbooks/{name}");
        assert_eq!(text(annotations, "runbook_url"), address);
        names.insert(name.to_owned());
    }
    let named = files("runbooks", "md");
    assert_eq!(names, named.iter().map(|path| stem(path)).collect());
}

#[test]
fn every_alert_fires_in_a_case_and_stays_silent_in_another() {
    let (mut fires, mut stays_silent) = (BTreeSet::new(), BTreeSet::new());
    let cases = documents(&ops("prometheus/alerts_test.yaml")).remove(0)["tests"].clone();
    for look in list(&cases).iter().flat_map(|case| list(&case["alert_rule_test"])) {
        let expected = look["exp_alerts"].as_sequence().map_or(0, Vec::len);
        let seen = if expected > 0 { &mut fires } else { &mut stays_silent };
        seen.insert(text(look, "alertname").to_owned());
    }
    let names: BTreeSet<_> = alert_rules()
        .iter()
        .map(|rule| text(rule, "alert").to_owned())
        .collect();
    assert_eq!(fires, names, "promtool is shown when each fires");
    assert_eq!(stays_silent, names, "promtool is shown when each does not");
}

/// What runs by the clock in the manifests, and by hand in the compose file.
const BY_THE_CLOCK: [&str; 3] = ["drop_retention_", "drop_erased_", "drop_erasures_"];

#[test]
fn prometheus_in_the_compose_file_has_no_rule_about_what_nobody_does_there() {
    let prometheus = documents(&ops("docker/prometheus.yaml")).remove(0);
    let jobs = list(&prometheus["scrape_configs"]).iter();
    let scraped: Vec<&str> = jobs.map(|job| text(job, "job_name")).collect();
    let mut seen = 0;
    for file in list(&prometheus["rule_files"]) {
        for rule in rules(&file.as_str().expect("a name").replace("../", "")) {
            let query = text(&rule, "expr");
            let asked = query.split("job=").skip(1).filter_map(|rest| rest.split('"').nth(1));
            for job in asked.flat_map(|jobs| jobs.split('|')) {
                assert!(scraped.contains(&job), "nobody scrapes {job}: {query}");
                seen += 1;
            }
            let by_the_clock = words(query).any(|word| BY_THE_CLOCK.iter().any(|prefix| word.starts_with(prefix)));
            assert!(!by_the_clock, "{query}");
        }
    }
    assert!(seen > 0, "no rule names a job");
}

/// What a reader puts in place of each placeholder.
const FILLED: [(&str, &str); 10] = [
    ("\"<why>\"", "why"),
    ("\"<ticket>\"", "ticket"),
    ("\"<release>\"", "release"),
    ("<you>", "you"),
    ("<id>", "1"),
    ("<lane>", "login"),
    ("<theirs>", "theirs"),
    ("<tx_…>", "tx_00000000000000000000000000000001"),
    ("<lgn_…>", "lgn_00000000000000000000000000000001"),
    ("<evt_…>", "evt_00000000000000000000000000000001"),
];

/// The commands of the worker's program in a runbook: lines of its blocks, and what it quotes in a sentence.
fn commands(runbook: &str) -> impl Iterator<Item = String> {
    let lines = runbook.lines().map(|line| line.split('#').next().unwrap_or_default());
    let quoted = runbook.split('`').skip(1).step_by(2);
    lines
        .chain(quoted)
        .filter(|text| text.starts_with("drop-worker "))
        .map(|text| {
            let filled = FILLED.iter().fold(text.to_owned(), |text, (placeholder, value)| {
                text.replace(placeholder, value)
            });
            filled.replace('…', "")
        })
}

#[test]
fn every_command_in_the_runbooks_is_one_of_ours() {
    let program = Verb::augment_subcommands(clap::Command::new("drop-worker"));
    let others = ["drop-worker migrate", "drop-worker retain"];
    let mut tried = 0;
    for path in runbooks() {
        for command in commands(&read(&path)) {
            let tries = [command.clone(), format!("{command} --operator you --reason why")];
            // A sentence may leave out who does it and why, which it has said before.
            let known = tries
                .iter()
                .any(|text| program.clone().try_get_matches_from(text.split_whitespace()).is_ok());
            assert!(
                known || others.contains(&command.trim()),
                "{}: {command}",
                path.display()
            );
            tried += 1;
        }
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn every_alert_that_the_code_raises_has_a_page_of_its_name_and_severity_and_every_page_an_alert() {
    let (mut raised, mut pages) = (BTreeMap::new(), BTreeMap::new());
    for alert in alerts::ALL {
        raised.insert(alert.name.to_owned(), alert.severity.as_str().to_owned());
    }
    for path in files("runbooks/raised", "md") {
        let (name, page) = (stem(&path), read(&path));
        assert_eq!(page.lines().next(), Some(&*format!("# {name}")));
        for part in ["\n## First look\n", "\n## Actions\n", "\n## Escalate\n"] {
            assert!(page.contains(part), "{name}: {part}");
        }
        let severity = page.split("**").nth(1).unwrap_or_default();
        pages.insert(name, severity.trim_end_matches('.').to_lowercase());
    }
    assert_eq!(raised, pages);
}

/// What is applied to an environment: the base and its own files.
pub(crate) fn manifests(environment: &str) -> Vec<Value> {
    ["kubernetes/base".to_owned(), format!("kubernetes/{environment}")]
        .iter()
        .flat_map(|folder| files(folder, "yaml"))
        .flat_map(|path| documents(&path))
        .collect()
}

#[track_caller]
pub(crate) fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}
