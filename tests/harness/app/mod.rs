//! The whole service for one test: its own database, the simulated providers, API and worker, all on free ports.

mod database;
mod processes;
mod time;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use drop_common::{
    clock::Clock,
    config::{ApiSettings, Environment},
};
use drop_sandbox::Sandbox;
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::Mutex, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{ONE_LOGIN, for_login},
    database::TestDatabase,
    fleet::{Fleet, Running},
    ground::{Addresses, Ground},
    ledger::Ledger,
    log_file::LogFile,
    lossy::LossyWay,
    person::browser,
    referee::Referee,
    said, settings,
};

/// One running service. [`TestApp::finish`] checks that it left no work behind, and that every call to Neonomics and every
/// answer was one that `openapi/providers/neonomics.yaml` describes.
pub struct TestApp {
    /// Where the API is.
    pub url: String,
    /// The simulated providers.
    pub sandbox: Sandbox,
    /// The test's own database, as the server's owner sees it.
    pub db: PgPool,
    /// What people heard about payments, and what arrived at the bank.
    pub ledger: Arc<Ledger>,
    database: TestDatabase,
    addresses: Addresses,
    clock: Clock,
    environment: Environment,
    variables: Vec<(&'static str, String)>,
    service: Service,
    replicas: Mutex<Vec<JoinHandle<anyhow::Result<()>>>>,
    way: Option<LossyWay>,
    /// Whether the calls to Neonomics are held against our description in the end.
    judges: bool,
    /// Where in what this process says the test began.
    began: usize,
    /// What processes of their own say.
    log: Option<LogFile>,
    /// What jobs share that run by hand.
    by_hand: OnceLock<Arc<drop_worker::Context>>,
}

/// What runs the service.
enum Service {
    /// Tasks of the test's own process; the worker may be stopped.
    Tasks {
        api: JoinHandle<anyhow::Result<()>>,
        /// Where the API's internal listener is.
        api_internal: String,
        worker: Mutex<Option<Worker>>,
    },
    /// Processes of their own.
    Processes(Running),
}

struct Worker {
    /// Where its internal listener is.
    internal: String,
    end: CancellationToken,
    process: JoinHandle<anyhow::Result<()>>,
}

impl TestApp {
    /// Starts everything and waits until the API answers.
    pub async fn start() -> Self {
        Self::start_on(Ground::prepare(&[]).await, None).await
    }

    /// The same on a PostgreSQL of its own, which [`TestApp::crash_database`] stops.
    pub async fn start_on_its_own_server() -> Self {
        Self::start_on_its_own_server_with(&[]).await
    }

    /// The same with some variables set otherwise.
    pub async fn start_on_its_own_server_with(changes: &[(&'static str, &str)]) -> Self {
        Self::start_on(Ground::on(TestDatabase::on_its_own_server().await, changes).await, None).await
    }

    /// The same with an archive of what is written there: [`TestApp::restore_database`] goes back in it.
    pub async fn start_archived() -> Self {
        Self::start_on(Ground::on(TestDatabase::archived().await, &[]).await, None).await
    }

    /// The same with some variables set otherwise.
    pub async fn start_with(changes: &[(&'static str, &str)]) -> Self {
        Self::start_on(Ground::prepare(changes).await, None).await
    }

    /// The same with processes that reach the database by a way that [`TestApp::lose_next_commit`] makes lossy.
    pub async fn start_on_a_lossy_way() -> Self {
        let mut ground = Ground::prepare(&[]).await;
        let way = LossyWay::to(&ground.database.url()).await;
        let Addresses { api, worker } = &ground.addresses;
        ground.addresses = Addresses {
            api: way.through(api),
            worker: way.through(worker),
        };
        Self::start_on(ground, Some(way)).await
    }

    /// The same as before there were roles: one login is every process and owns everything.
    pub async fn start_with_one_login() -> Self {
        let mut ground = Ground::on(TestDatabase::with_one_login().await, &[]).await;
        let one = for_login(&ground.database.url(), ONE_LOGIN);
        ground.addresses = Addresses {
            api: one.clone(),
            worker: one,
        };
        Self::start_on(ground, None).await
    }

    async fn start_on(ground: Ground, way: Option<LossyWay>) -> Self {
        said::listen();
        let environment = settings::environment(ground.variables.clone());
        let of_api = environment.clone().with("DATABASE_URL", &ground.addresses.api);
        let settings = ApiSettings::read(&of_api).expect("the API's settings");
        let (public, internal, clock) = (ground.public, listener().await, Clock::adjustable());
        let api_internal = url_of(&internal);
        let mut app = Self {
            url: ground.url,
            sandbox: ground.sandbox,
            db: ground.database.pool.clone(),
            ledger: ground.ledger,
            database: ground.database,
            addresses: ground.addresses,
            service: Service::Tasks {
                api_internal,
                api: tokio::spawn(drop_api::serve(settings, clock.clone(), public, internal)),
                worker: Mutex::default(),
            },
            replicas: Mutex::default(),
            clock,
            environment,
            variables: ground.variables,
            way,
            judges: true,
            began: said::position(),
            log: None,
            by_hand: OnceLock::new(),
        };
        app.start_worker().await;
        app.until_it_answers().await;
        app
    }

    /// Starts several processes of each kind, and waits until they answer. Their time cannot be moved.
    pub async fn start_fleet(fleet: Fleet) -> Self {
        Self::start_fleet_with(fleet, &[]).await
    }

    /// The same with some variables set otherwise.
    pub async fn start_fleet_with(fleet: Fleet, changes: &[(&'static str, &str)]) -> Self {
        let ground = Ground::prepare(changes).await;
        let start =
            async |public: TcpListener, variables: &[_], at: &Addresses| fleet.start(public, variables, at).await;
        Self::on_processes(ground, start).await
    }

    /// The service as it runs in the processes that this starts, once it answers.
    pub(crate) async fn on_processes(
        mut ground: Ground,
        start: impl AsyncFnOnce(TcpListener, &[(&'static str, String)], &Addresses) -> Running,
    ) -> Self {
        let log = LogFile::new();
        // First, so that what a test sets otherwise wins.
        ground.variables.splice(0..0, log.variables());
        let running = start(ground.public, &ground.variables, &ground.addresses).await;
        let mut app = Self {
            url: ground.url,
            sandbox: ground.sandbox,
            db: ground.database.pool.clone(),
            ledger: ground.ledger,
            database: ground.database,
            service: Service::Processes(running),
            addresses: ground.addresses,
            clock: Clock::real(),
            environment: settings::environment(ground.variables.clone()),
            variables: ground.variables,
            replicas: Mutex::default(),
            way: None,
            judges: true,
            began: said::position(),
            log: Some(log),
            by_hand: OnceLock::new(),
        };
        app.until_it_answers().await;
        app
    }

    async fn until_it_answers(&mut self) {
        let answers = async || {
            self.everything_runs();
            let health = browser().get(format!("{}/v1/health", self.url)).send().await;
            health.is_ok_and(|health| health.status() == 200)
        };
        assert!(eventually(answers).await, "the API does not answer");
    }

    /// For a test whose settings, or whose bank, deviate from the contract, which alone our description describes.
    #[must_use]
    pub fn off_contract(mut self) -> Self {
        self.judges = false;
        self
    }

    /// Checks the books, ends the service and removes the database, with work still waiting: a circuit is open.
    pub async fn abandon(self) {
        self.check_the_books().await;
        self.check_what_was_kept_secret(self.began).await;
        self.end().await;
    }

    /// The same as [`TestApp::abandon`] where the test wrote payments itself: no books are kept of those.
    pub async fn abandon_without_books(self) {
        self.check_what_was_kept_secret(self.began).await;
        self.end().await;
    }

    /// Checks that the queue is empty and the books are right, ends the service and removes the database.
    pub async fn finish(self) {
        self.until_idle().await;
        self.check_the_books().await;
        self.check_what_was_kept_secret(self.began).await;
        self.end().await;
    }

    /// The same where the payments were moved to where no books are kept of them: the test has checked them before.
    pub async fn finish_without_books(self) {
        self.until_idle().await;
        self.check_what_was_kept_secret(self.began).await;
        self.end().await;
    }

    async fn end(self) {
        let calls = if self.judges {
            self.sandbox.neonomics().journal()
        } else {
            Vec::new()
        };
        match self.service {
            Service::Tasks { api, worker, .. } => {
                api.abort();
                if let Some(worker) = worker.into_inner() {
                    worker.process.abort();
                }
            }
            Service::Processes(running) => drop(running),
        }
        for replica in self.replicas.into_inner() {
            replica.abort();
        }
        self.sandbox.stop().await.expect("the sandbox stops");
        self.database.remove().await;
        // Last, so that what a test started has ended also where this fails.
        let wrong: Vec<_> = calls.iter().flat_map(|call| Referee::ours().judge(call)).collect();
        assert!(
            wrong.is_empty(),
            "openapi/providers/neonomics.yaml does not allow: {wrong:#?}"
        );
    }
}

/// Asks until it is so, for at most ten seconds; false when it never was.
pub async fn eventually(mut is_so: impl AsyncFnMut() -> bool) -> bool {
    let mut ticks = tokio::time::interval(Duration::from_millis(25));
    for _ in 0..400 {
        ticks.tick().await;
        if is_so().await {
            return true;
        }
    }
    false
}

pub(crate) fn url_of(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().expect("a bound address"))
}

/// A free port, taken from here on: a port that is only looked up may be somebody else's a moment later.
pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}
