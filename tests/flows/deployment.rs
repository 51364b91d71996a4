//! The deployment files (`ops/`) against the code: what they set is read, and what they start fits the database.

use drop_common::{
    config::{ApiSettings, DatabaseConfig, Environment, WorkerSettings, variables},
    queue::Lane,
};
use serde_yaml::Value;

use crate::ops::{ENVIRONMENTS, documents, files, list, manifests, named, ops, read, text};

/// What a process opens beside its pool: the API sends wake-ups; a worker sends and receives them, renews its leases and
/// reads the gauges and those of the balances. The API's listener lives in its pool.
const API_BESIDE_POOL: u64 = 1;
const WORKER_BESIDE_POOL: u64 = 5;
/// For the migrations, what deletes what is due, and people with psql or the operator's commands.
const LEFT_FREE: u64 = 10;
/// An Ed25519 key in PKCS#8 made for tests; it signs nothing.
const SESSION_KEY: &str = "MC4CAQAwBQYDK2VwBCIEILR1TN2wi9YOEh4xnRQB1N1F0T+13b59SQaqg3IfiOhi";

/// What stands for a secret that a file holds.
fn stand_in(name: &str) -> &'static str {
    match name {
        "DATABASE_URL" => "postgres://drop@database.internal/drop?sslmode=verify-full",
        "DROP_SESSION_KEY" => SESSION_KEY,
        "DROP_ENCRYPTION_KEY" => "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "DROP_OPERATOR_TOKENS" => "kari:operator:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "SENTRY_DSN" => "https://key@o1.ingest.sentry.io/2",
        _ => "thirty-two bytes and more for a test",
    }
}

/// What the only container of a workload is started with; its secrets are files, of which there are none here.
fn environment_of(objects: &[Value], workload: &Value) -> Environment {
    let container = &workload["spec"]["template"]["spec"]["containers"][0];
    let known = variables();
    let mut environment = Environment::default();
    for source in list(&container["envFrom"]) {
        let config = named(objects, "ConfigMap", text(&source["configMapRef"], "name"));
        for (name, value) in config["data"].as_mapping().expect("the data") {
            let (name, value) = (name.as_str().expect("a name"), value.as_str().expect("a text"));
            environment = environment.with(name, value);
            assert!(known.contains(name), "nothing reads {name}");
        }
    }
    for variable in list(&container["env"]) {
        let (name, value) = (text(variable, "name"), text(variable, "value"));
        let (name, value) = name
            .strip_suffix("_FILE")
            .map_or((name, value), |name| (name, stand_in(name)));
        assert!(known.contains(name), "nothing reads {name}");
        environment = environment.with(name, value);
    }
    match lanes_of(workload) {
        Some(lanes) => environment.with("DROP_LANES", lanes),
        None => environment,
    }
}

/// What follows `--lanes` in the command.
fn lanes_of(workload: &Value) -> Option<String> {
    let command = list(&workload["spec"]["template"]["spec"]["containers"][0]["command"]);
    let option = command.iter().position(|word| word == "--lanes")?;
    command.get(option + 1)?.as_str().map(str::to_owned)
}

const WORKERS: [&str; 2] = ["drop-worker-interactive", "drop-worker-batch"];

#[test]
fn the_manifests_leave_connections_free_when_everything_is_scaled_out_and_rolled_at_once() {
    for environment in ENVIRONMENTS {
        let objects = manifests(environment);
        let config = &named(&objects, "ConfigMap", "drop-config")["metadata"]["annotations"];
        let most: u64 = text(config, "getdrop.no/max-connections").parse().expect("a number");

        let surge = |workload: &Value| workload["spec"]["strategy"]["rollingUpdate"]["maxSurge"].as_u64();
        let api = named(&objects, "Deployment", "drop-api");
        let replicas = api["spec"]["replicas"].as_u64().expect("replicas");
        assert!(replicas >= 2, "one API cannot be replaced unseen");
        let settings = ApiSettings::read(&environment_of(&objects, api)).expect("settings of the API");
        let mut opened =
            (replicas + surge(api).expect("a number")) * (u64::from(settings.database.pool_size) + API_BESIDE_POOL);
        for name in WORKERS {
            let worker = named(&objects, "Deployment", name);
            let replicas = named(&objects, "ScaledObject", name)["spec"]["maxReplicaCount"].as_u64();
            let settings = WorkerSettings::read(&environment_of(&objects, worker)).expect("settings of a worker");
            opened += (replicas.expect("a number") + surge(worker).expect("a number"))
                * (u64::from(settings.database.pool_size) + WORKER_BESIDE_POOL);
            let grace = worker["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64();
            assert!(
                grace.expect("a number") > settings.worker.drain.as_secs() + 5,
                "{name} is killed while it drains"
            );
        }
        let migrate = named(&objects, "Job", "drop-migrate");
        DatabaseConfig::alone(&environment_of(&objects, migrate)).expect("settings of the migration");
        assert!(
            opened + LEFT_FREE <= most,
            "{environment}: {opened} of {most} connections"
        );
    }
}

/// The role of each process, in the names of its files and secrets: `api` logs in as `drop_api`.
const ROLES: [(&str, &str); 6] = [
    ("drop-retain", "retention"),
    ("drop-erased", "worker"),
    ("drop-migrate", "migrate"),
    ("drop-api", "api"),
    ("drop-worker-interactive", "worker"),
    ("drop-worker-batch", "worker"),
];

#[test]
fn each_process_logs_in_to_the_database_as_its_own_role() {
    let objects = manifests("production");
    for (name, role) in ROLES {
        let template = match name {
            "drop-migrate" => &named(&objects, "Job", name)["spec"]["template"],
            "drop-retain" | "drop-erased" => {
                &named(&objects, "CronJob", name)["spec"]["jobTemplate"]["spec"]["template"]
            }
            _ => &named(&objects, "Deployment", name)["spec"]["template"],
        };
        let pod = &template["spec"];
        let url = list(&pod["containers"][0]["env"])
            .iter()
            .find(|variable| text(variable, "name") == "DATABASE_URL_FILE")
            .expect("where the database is");
        let folder = text(url, "value").rsplit_once('/').expect("a file").0;
        let mount = list(&pod["containers"][0]["volumeMounts"])
            .iter()
            .find(|mount| text(mount, "mountPath") == folder)
            .expect("a mount");
        let volume = list(&pod["volumes"])
            .iter()
            .find(|volume| text(volume, "name") == text(mount, "name"))
            .expect("a volume");
        assert_eq!(
            text(&volume["secret"], "secretName"),
            format!("drop-{role}-database"),
            "{name}"
        );
    }

    let mut compose = documents(&ops("docker/compose.yaml")).remove(0);
    compose.apply_merge().expect("merge keys that name mappings");
    for (service, role) in [
        ("migrate", "migrate"),
        ("api", "api"),
        ("worker", "worker"),
        ("retain", "retention"),
    ] {
        let url = text(&compose["services"][service]["environment"], "DATABASE_URL");
        assert_eq!(url, format!("postgres://drop_{role}@database/drop"));
    }
    for (unit, role) in [
        ("drop-migrate", "migrate"),
        ("drop-api", "api"),
        ("drop-worker@", "worker"),
        ("drop-retain", "retention"),
        ("drop-erased", "worker"),
    ] {
        let unit = read(&ops(&format!("systemd/{unit}.service")));
        let credential = format!("LoadCredential=database-url:/etc/drop/secrets/{role}-database-url");
        assert!(unit.contains(&credential), "{credential}");
    }
}

/// What lists those who were erased, every hour, without its program.
pub(crate) fn list_of_the_erased() -> Vec<String> {
    let objects = manifests("production");
    let pod = &named(&objects, "CronJob", "drop-erased")["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let command = list(&pod["containers"][0]["command"]).iter();
    let words: Vec<String> = command.map(|word| word.as_str().expect("a word").to_owned()).collect();
    assert_eq!(words[0], "/usr/local/bin/drop-worker");
    words[1..].to_vec()
}

#[test]
fn those_who_were_erased_are_listed_outside_the_database_every_hour_in_each_way_to_run_the_service() {
    for environment in ENVIRONMENTS {
        let objects = manifests(environment);
        let schedule = text(&named(&objects, "CronJob", "drop-erased")["spec"], "schedule").to_owned();
        assert!(schedule.ends_with(" * * * *"), "{environment}: {schedule}");
        let pod = &named(&objects, "CronJob", "drop-erased")["spec"]["jobTemplate"]["spec"]["template"]["spec"];
        let is_quiet = |variable: &Value| text(variable, "name") == "RUST_LOG" && text(variable, "value") == "error";
        assert!(list(&pod["containers"][0]["env"]).iter().any(is_quiet), "{environment}");
    }
    // Its log is the list, whatever the log's level is elsewhere.
    let command = format!(
        "RUST_LOG=error /usr/local/bin/drop-worker {} >",
        list_of_the_erased().join(" ")
    );
    let unit = read(&ops("systemd/drop-erased.service"));
    assert!(unit.contains(&command), "{command}");
    assert!(read(&ops("systemd/drop-erased.timer")).contains("OnCalendar=*-*-* *:"));
    // While the past is there, its list must not be the newest.
    let guide = read(&ops("restore.md"));
    for object in ["cronjob/drop-retain", "cronjob/drop-erased"] {
        for suspended in ["true", "false"] {
            let line = format!("kubectl -n drop patch {object} --patch '{{\"spec\":{{\"suspend\":{suspended}}}}}'");
            assert!(guide.contains(&line), "{line}");
        }
    }
}

#[test]
fn the_workers_of_the_manifests_serve_every_lane_and_none_twice() {
    let objects = manifests("production");
    let deployed = WORKERS.map(|name| lanes_of(named(&objects, "Deployment", name)).expect("--lanes"));
    let mut served: Vec<&str> = deployed.iter().flat_map(|lanes| lanes.split(',')).collect();
    served.sort_unstable();
    let mut all = Lane::ALL.map(Lane::name);
    all.sort_unstable();
    assert_eq!(served, all);
}

#[test]
fn the_compose_file_and_the_units_set_what_is_read() {
    let known = variables();
    let mut compose = documents(&ops("docker/compose.yaml")).remove(0);
    compose.apply_merge().expect("merge keys that name mappings");
    for service in ["api", "worker", "migrate", "retain"] {
        let given = compose["services"][service]["environment"]
            .as_mapping()
            .expect("variables");
        let secrets = read(&ops("docker/keys"));
        let mut environment = Environment::default();
        for name in known.iter().filter(|name| secrets.contains(name.as_str())) {
            environment = environment.with(name.as_str(), stand_in(name));
        }
        for (name, value) in given {
            let (name, value) = (name.as_str().expect("a name"), value.as_str().expect("a text"));
            assert!(known.contains(name), "compose.yaml: nothing reads {name}");
            environment = environment.with(name, value);
        }
        ApiSettings::read(&environment).expect("settings of the API");
        WorkerSettings::read(&environment).expect("settings of the worker");
    }
    for path in files("systemd", "service") {
        for line in read(&path).lines().filter_map(|line| line.strip_prefix("Environment=")) {
            let name = line.split("_FILE=").next().unwrap_or_default();
            assert!(known.contains(name), "{}: nothing reads {name}", path.display());
        }
    }
}

#[test]
fn what_may_go_anywhere_may_not_go_to_a_private_network_nor_to_the_machines_metadata() {
    for environment in ENVIRONMENTS {
        let policies = manifests(environment);
        let rules = policies.iter().flat_map(|policy| list(&policy["spec"]["egress"]));
        let anywhere = rules
            .flat_map(|rule| list(&rule["to"]))
            .map(|to| &to["ipBlock"])
            .filter(|block| block["cidr"] == "0.0.0.0/0");
        let excepted: Vec<Vec<&str>> = anywhere
            .map(|block| list(&block["except"]).iter().filter_map(Value::as_str).collect())
            .collect();
        let private = [
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
        ];
        assert_eq!(excepted, [private, private], "{environment}: the providers, and Sentry");
    }
}

#[test]
fn what_reports_starts_without_the_secret_of_sentry_too() {
    for environment in ENVIRONMENTS {
        let objects = manifests(environment);
        for name in ["drop-api", WORKERS[0], WORKERS[1]] {
            let pod = &named(&objects, "Deployment", name)["spec"]["template"]["spec"];
            let volume = list(&pod["volumes"])
                .iter()
                .find(|volume| text(volume, "name") == "sentry")
                .expect("a volume");
            assert_eq!(volume["secret"]["optional"], Value::Bool(true), "{environment}: {name}");
        }
        let retain = named(&objects, "CronJob", "drop-retain");
        let volumes = &retain["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"];
        let volume = list(volumes).iter().find(|volume| text(volume, "name") == "sentry");
        assert_eq!(volume.expect("a volume")["secret"]["optional"], Value::Bool(true));
    }
    for unit in ["drop-api", "drop-worker@", "drop-retain"] {
        let unit = read(&ops(&format!("systemd/{unit}.service")));
        // The second one is what stands for a file that is not there.
        for line in ["LoadCredential=sentry-dsn:", "SetCredential=sentry-dsn:\\n"] {
            assert!(unit.contains(line), "{line}");
        }
    }
}
