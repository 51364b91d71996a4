//! The service's own processes, aimed by variables at providers that are not ours to command: the test environments of
//! `BankID`, Neonomics and Sumsub, or whatever stands at the addresses given. Who is not aimed at is simulated.

mod app_link;
mod person;

use std::{collections::BTreeMap, net::SocketAddr, os::fd::OwnedFd, process::Stdio, time::Duration};

use drop_common::config::{ApiSettings, Environment, WorkerSettings};
use drop_sandbox::Sandbox;
use reqwest::{RequestBuilder, Url};
use serde_json::Value;
use sqlx::PgPool;
use tokio::net::TcpListener;

pub use app_link::AppLink;
pub use person::{Person, Task};

use crate::{
    app::{listener, url_of},
    cluster::Role,
    database::TestDatabase,
    log_file::LogFile,
    person::{Answer, browser},
    processes::Node,
    settings,
};

/// Time for a person to find the right page, and for a provider to think.
const PATIENCE: Duration = Duration::from_mins(15);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// One of the three that the service cannot run without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Every login.
    BankId,
    /// Balances and payments.
    Neonomics,
    /// The identity check.
    Sumsub,
}

impl Provider {
    /// All three, in the order in which a new person meets them.
    pub const ALL: [Self; 3] = [Self::BankId, Self::Sumsub, Self::Neonomics];

    /// Whether a variable of the service, or its `_FILE` variant, is about this provider.
    fn owns(self, variable: &str) -> bool {
        let prefixes: &[&str] = match self {
            Self::BankId => &["BANKID_"],
            Self::Neonomics => &["NEONOMICS_", "PISP_", "AISP_", "PSU_", "SCA_HOSTS"],
            Self::Sumsub => &["SUMSUB_"],
        };
        prefixes.iter().any(|prefix| variable.starts_with(prefix))
    }
}

/// What is taken from the given variables, whoever is aimed at.
const TAKEN: [&str; 3] = ["DROP_PUBLIC_URL", "DROP_API_LISTEN", "DROP_TRUSTED_PROXIES"];

/// The service and what it is aimed at.
pub struct Aimed {
    /// The providers that are not simulated here.
    pub at: Vec<Provider>,
    environment: Environment,
    /// Opened by the browser that comes back from `BankID`, in the app's place.
    pub app: AppLink,
    /// The service's database, as its owner sees it.
    pub db: PgPool,
    /// Where this program reaches the API; a browser reaches it at `DROP_PUBLIC_URL`.
    url: String,
    person: Person,
    simulated: Sandbox,
    database: TestDatabase,
    nodes: [Node; 2],
    /// What the processes say; errors are shown where the test fails.
    _log: LogFile,
}

/// What keeps the service from being aimed at these providers: a variable and its rule, in the service's own words.
pub fn problems(at: &[Provider], given: &Environment) -> Vec<String> {
    // Stand-ins for what the program brings itself.
    let variables = variables(at, given, "http://127.0.0.1:9100", "http://127.0.0.1:9101/app");
    let environment: Environment = variables.into_iter().collect();
    let environment = environment.with("DATABASE_URL", "postgres://drop@127.0.0.1/drop");
    let read = [
        ApiSettings::read(&environment).err(),
        WorkerSettings::read(&environment).err(),
    ];
    let wrong = read.into_iter().flatten().flat_map(|error| error.problems);
    // What would follow from a missing one is not missing itself.
    let causes =
        wrong.filter(|problem| problem.rule.starts_with("is required") || environment.get(&problem.variable).is_some());
    let mut problems: Vec<_> = causes
        .map(|problem| format!("{} {}", problem.variable, problem.rule))
        .collect();
    problems.extend(at.iter().filter_map(|provider| provider.unfit(&environment)));
    problems.sort();
    problems.dedup();
    problems
}

/// A variable, or what the file holds that its `_FILE` variant names.
fn value(environment: &Environment, name: &str) -> Option<String> {
    let file = environment.get(&format!("{name}_FILE"));
    let held = file.and_then(|file| std::fs::read_to_string(file).ok());
    let held = held.map(|held| held.trim_end_matches(['\n', '\r']).to_owned());
    held.or_else(|| environment.get(name).map(str::to_owned))
}

fn demand(at: &[Provider], given: &Environment) {
    let problems = problems(at, given);
    let lines = problems.join("\n  ");
    assert!(
        problems.is_empty(),
        "{at:?} cannot be reached: see tests/README.md\n  {lines}"
    );
}

impl Provider {
    /// What the service itself takes and a test must not: production, where people and money are real.
    fn unfit(self, environment: &Environment) -> Option<String> {
        let value = |name| value(environment, name).unwrap_or_default();
        let url = |name| Url::parse(&value(name)).ok();
        let is_at = |name, host| url(name).is_some_and(|url| url.host_str() == Some(host));
        // Pages on this machine need no list.
        let simulated = url("NEONOMICS_BASE_URL").is_some_and(|url| url.scheme() == "http");
        let what = match self {
            Self::BankId if is_at("BANKID_ISSUER", "auth.bankid.no") => "BANKID_ISSUER is production's",
            Self::Neonomics if is_at("NEONOMICS_BASE_URL", "api.neonomics.io") => "NEONOMICS_BASE_URL is production's",
            Self::Neonomics if !simulated && value("SCA_HOSTS").is_empty() => "SCA_HOSTS is required",
            Self::Sumsub if value("SUMSUB_APP_TOKEN").starts_with("prd:") => "SUMSUB_APP_TOKEN is production's",
            Self::BankId | Self::Neonomics | Self::Sumsub => return None,
        };
        Some(what.to_owned())
    }
}

/// The variables of the processes: those given for the providers aimed at, and the simulation's for the others.
fn variables(at: &[Provider], given: &Environment, simulated: &str, app_link: &str) -> BTreeMap<String, String> {
    let aimed = |name: &str| at.iter().any(|provider| provider.owns(name));
    let url = given.get("DROP_PUBLIC_URL").unwrap_or_default();
    let ours = settings::variables(url, simulated).into_iter();
    let mut variables: BTreeMap<_, _> = ours
        .filter(|(name, _)| !aimed(name))
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    variables.insert("DROP_APP_LINK".to_owned(), app_link.to_owned());
    // Approvals are waited for as long as everything else that a person does, unless it is said.
    variables.insert("PISP_SCA_TIMEOUT_S".to_owned(), PATIENCE.as_secs().to_string());
    let read = drop_common::config::variables().into_iter();
    for name in read.flat_map(|name| [format!("{name}_FILE"), name]) {
        if let Some(value) = given
            .get(&name)
            .filter(|_| aimed(&name) || TAKEN.contains(&name.as_str()))
        {
            variables.insert(name, value.to_owned());
        }
    }
    variables
}

impl Aimed {
    /// Where the API listens by `DROP_API_LISTEN`, once nothing is missing.
    pub async fn listener(at: &[Provider], given: &Environment) -> TcpListener {
        demand(at, given);
        let listen = given.get("DROP_API_LISTEN").unwrap_or("127.0.0.1:8080");
        let listen: SocketAddr = listen.parse().expect("DROP_API_LISTEN is address:port");
        TcpListener::bind(listen).await.expect("nobody else listens there")
    }

    /// Starts the processes (`program` is `drop-node`) and waits until the API answers.
    ///
    /// # Panics
    /// When something is missing: the message has each variable.
    pub async fn start(
        program: &str,
        at: &[Provider],
        given: &Environment,
        public: TcpListener,
        person: Person,
    ) -> Self {
        demand(at, given);
        drop_common::providers::install_tls();
        let database = TestDatabase::new().await;
        let url = url_of(&public);
        let simulated = Sandbox::start(settings::sandbox(given.get("DROP_PUBLIC_URL").unwrap_or(&url)))
            .await
            .expect("the sandbox starts");
        // These need not go through what stands before the service.
        simulated
            .sumsub()
            .send_webhooks_to(&format!("{url}/v1/webhooks/sumsub"));
        let app = AppLink::open(listener().await);
        let environment = variables(at, given, &simulated.url(), &app.url);
        let log = LogFile::new();
        let said = log.variables();
        let node = |part, role, input| {
            let address = database.url_as(role);
            let mut variables: Vec<_> = said.iter().map(|(name, value)| (*name, value.as_str())).collect();
            variables.extend([
                ("DATABASE_URL", address.as_str()),
                ("DROP_API_INTERNAL_LISTEN", "127.0.0.1:0"),
                ("DROP_WORKER_INTERNAL_LISTEN", "127.0.0.1:0"),
            ]);
            variables.extend(environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            Node::start_with(program, part, &variables, input)
        };
        let public = OwnedFd::from(public.into_std().expect("a listener"));
        let nodes = [
            node("api", Role::Api, public.into()),
            node("worker", Role::Worker, Stdio::null()),
        ];
        let mut aimed = Self {
            at: at.to_vec(),
            environment: environment.into_iter().collect(),
            app,
            db: database.pool.clone(),
            url,
            person,
            simulated,
            database,
            nodes,
            _log: log,
        };
        aimed.until_it_answers().await;
        aimed
    }

    async fn until_it_answers(&mut self) {
        let health = format!("{}/v1/health", self.url);
        self.until("the API answers", async || {
            let answer = browser().get(&health).send().await.ok()?;
            (answer.status() == 200).then_some(())
        })
        .await;
    }

    /// What the processes were started with under this name.
    pub fn value(&self, name: &str) -> Option<String> {
        value(&self.environment, name)
    }

    /// Where browsers and providers reach this path.
    pub fn public(&self, path: &str) -> String {
        let url = self.value("DROP_PUBLIC_URL").unwrap_or_default();
        format!("{}{path}", url.trim_end_matches('/'))
    }

    /// Whether this provider is one that is aimed at.
    pub fn is_aimed_at(&self, provider: Provider) -> bool {
        self.at.contains(&provider)
    }

    /// Has the person do what only a person can; for a provider that is simulated here, the simulation does it.
    pub async fn have_done(&self, task: Task) {
        if self.is_aimed_at(task.provider()) {
            self.person.does(&task).await;
        } else {
            Person::Simulated(self.simulated.url()).does(&task).await;
        }
    }

    /// Looks until there is something to see.
    ///
    /// # Panics
    /// When there is nothing in time, or a process has ended.
    pub async fn until<T>(&mut self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        for _ in 0..PATIENCE.as_millis() / LOOK_EVERY.as_millis() {
            ticks.tick().await;
            if let Some(seen) = look().await {
                return seen;
            }
            assert!(self.nodes.iter_mut().all(Node::is_running), "a process has ended");
        }
        panic!("not so within {PATIENCE:?}: {what}");
    }

    /// A request to the API, at a path or at an address of its own.
    pub fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        browser().request(method, format!("{}{path}", self.url))
    }

    /// Ends the processes and removes the database.
    pub async fn end(self) {
        drop(self.nodes);
        self.simulated.stop().await.expect("the sandbox stops");
        self.database.remove().await;
    }
}

/// Sends a request and reads the whole answer.
pub async fn answer(request: RequestBuilder) -> Answer {
    Answer::of(request.send().await.expect("an answer")).await
}

/// A text of an answer's body.
pub fn text(body: &Value, name: &str) -> String {
    let text = body[name].as_str();
    text.unwrap_or_else(|| panic!("no {name} in an answer")).to_owned()
}
