//! The whole service for one test: its own database, the simulated providers, API and worker, all on free ports.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use chrono::TimeDelta;
use drop_common::{
    clock::Clock,
    config::{ApiSettings, Environment, WorkerSettings},
    metrics::{Metrics, Process},
    queue,
    storage::{self, PoolOptions},
};
use drop_sandbox::Sandbox;
use secrecy::ExposeSecret;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::{
    net::TcpListener,
    sync::Mutex,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{ONE_LOGIN, Role, for_login},
    database::TestDatabase,
    fleet::{self, Fleet, Running},
    ground::{Addresses, Ground},
    ledger::Ledger,
    log_file::LogFile,
    lossy::LossyWay,
    person::browser,
    processes::Node,
    referee::Referee,
    said, settings, time,
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

    /// Whatever starts from here on has the address of its role.
    pub fn use_the_roles(&mut self) {
        self.addresses = Addresses {
            api: self.database.url_as(Role::Api),
            worker: self.database.url_as(Role::Worker),
        };
    }

    /// The database's address for this login.
    pub fn address_of(&self, login: &str) -> String {
        for_login(&self.database.url(), login)
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

    /// What its processes have said, where they are no tasks of ours and write to no other file.
    pub fn processes_said(&self) -> String {
        self.log.as_ref().map(LogFile::text).unwrap_or_default()
    }

    /// Starts the worker again after [`TestApp::stop_worker`].
    pub async fn start_worker(&self) {
        let (settings, clock, internal) = (self.worker_settings(), self.clock.clone(), listener().await);
        let Service::Tasks { worker, .. } = &self.service else {
            panic!("the worker is a process of its own");
        };
        let (end, address) = (CancellationToken::new(), url_of(&internal));
        let process = tokio::spawn(drop_worker::work(
            settings,
            clock,
            internal,
            end.clone().cancelled_owned(),
        ));
        *worker.lock().await = Some(Worker {
            internal: address,
            end,
            process,
        });
    }

    /// Starts one more API over the same database, with some variables set otherwise. Returns where it is.
    pub async fn start_replica(&self, changes: &[(&'static str, &str)]) -> String {
        let environment = changes
            .iter()
            .fold(self.api_environment(), |environment, &(name, value)| {
                environment.with(name, value)
            });
        let settings = ApiSettings::read(&environment).expect("the replica's settings");
        let (public, internal) = (listener().await, listener().await);
        let url = url_of(&public);
        let api = tokio::spawn(drop_api::serve(settings, self.clock.clone(), public, internal));
        self.replicas.lock().await.push(api);
        url
    }

    /// The key that the service signs access tokens with.
    pub fn session_key(&self) -> Vec<u8> {
        let settings = ApiSettings::read(&self.api_environment()).expect("the API's settings");
        settings.keys.session_key.expose_secret().to_vec()
    }

    /// How the service is configured.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).map(str::to_owned)
    }

    /// Sets variables otherwise, for the worker that starts next.
    pub fn reconfigure_worker(&mut self, changes: &[(&'static str, &str)]) {
        for &(name, value) in changes {
            self.environment = self.environment.clone().with(name, value);
        }
        self.by_hand = OnceLock::new();
    }

    /// Whatever starts next logs in to the database as another login of its role: the role's name, and this after it.
    pub fn log_in_as(&mut self, suffix: &str) {
        let with_suffix = |url: &str, role: Role| {
            let mut url = reqwest::Url::parse(url).expect("a database's address");
            url.set_username(&format!("{}{suffix}", role.name()))
                .expect("an address with a host");
            url.to_string()
        };
        self.addresses = Addresses {
            api: with_suffix(&self.addresses.api, Role::Api),
            worker: with_suffix(&self.addresses.worker, Role::Worker),
        };
    }

    /// Ends the worker as SIGTERM does. From here on jobs run only in [`TestApp::run_jobs`].
    pub async fn stop_worker(&self) {
        if let Service::Tasks { worker, .. } = &self.service
            && let Some(worker) = worker.lock().await.take()
        {
            worker.end.cancel();
            let ended = worker.process.await.expect("the worker does not panic");
            ended.expect("the worker drains");
        }
    }

    /// Runs what is ready, and what becomes ready meanwhile, in this task. Returns how many jobs ran.
    pub async fn run_jobs(&self) -> usize {
        self.no_worker_runs().await;
        // Made once: its clients read the machine's certificates, which takes longer than most jobs.
        let context = self.by_hand.get_or_init(|| self.worker_by_hand());
        queue::drain(&context.db, drop_worker::registry(), Arc::clone(context))
            .await
            .expect("the jobs can be run")
    }

    /// The same with several workers at once, which race for the jobs.
    pub async fn run_jobs_by(&self, workers: &[Arc<drop_worker::Context>]) {
        self.no_worker_runs().await;
        let mut racing = JoinSet::new();
        for context in workers {
            let (db, context) = (context.db.clone(), Arc::clone(context));
            racing.spawn(async move { queue::drain(&db, drop_worker::registry(), context).await });
        }
        for ran in racing.join_all().await {
            ran.expect("the jobs can be run");
        }
    }

    /// A worker that does nothing by itself, for [`TestApp::run_jobs_by`].
    pub fn worker_by_hand(&self) -> Arc<drop_worker::Context> {
        let metrics = Arc::new(Metrics::new(Process::Worker, "test", "test").expect("metrics"));
        let (settings, clock, wake) = (self.worker_settings(), self.clock.clone(), queue::Wake::default());
        let options = PoolOptions {
            max: 10,
            acquire_timeout: Duration::from_secs(20),
        };
        // Never by a lossy way: what is lost there is the running service's.
        let url = self.database.url_as(Role::Worker).into();
        let db = storage::connect_lazy(&url, options).expect("a worker's connections");
        let context = drop_worker::Context::new(settings, db, clock, metrics, wake);
        Arc::new(context.expect("a context"))
    }

    async fn no_worker_runs(&self) {
        let Service::Tasks { worker, .. } = &self.service else {
            panic!("workers of their own run them already");
        };
        assert!(worker.lock().await.is_none(), "the worker runs them already");
    }

    /// Moves time for everything: the processes' clock, the providers' clock, and whatever is stored.
    pub async fn advance(&self, by: TimeDelta) {
        self.clock.advance(by);
        self.sandbox.clock().advance(by);
        time::pass_beside_workers(&self.db, by).await;
    }

    /// The present, as the processes have it.
    pub fn now(&self) -> chrono::DateTime<chrono::Utc> {
        self.clock.now()
    }

    /// Sets the clock of the processes, and it alone, ahead of the database's.
    pub fn misset_clock(&self, ahead: TimeDelta) {
        self.clock.advance(ahead);
    }

    /// Where the API's internal listener is.
    pub fn api_internal(&self) -> &str {
        match &self.service {
            Service::Tasks { api_internal, .. } => api_internal,
            Service::Processes(_) => panic!("the internal listeners of processes are unknown"),
        }
    }

    /// Where the worker's internal listener is; another after each start.
    pub async fn worker_internal(&self) -> String {
        let Service::Tasks { worker, .. } = &self.service else {
            panic!("the internal listeners of processes are unknown");
        };
        worker.lock().await.as_ref().expect("a worker runs").internal.clone()
    }

    /// Where the internal listeners are.
    pub(crate) async fn internal_listeners(&self) -> Vec<String> {
        match &self.service {
            Service::Tasks {
                api_internal, worker, ..
            } => {
                let worker = worker.lock().await.as_ref().map(|worker| worker.internal.clone());
                worker.into_iter().chain([api_internal.clone()]).collect()
            }
            Service::Processes(running) => running.internal_listeners(),
        }
    }

    /// The database is away from the service, or there again. Only on a lossy way.
    pub fn cut_database_off(&self, away: bool) {
        self.way.as_ref().expect("started on a lossy way").close(away);
    }

    /// The database's server is gone as by a crash, until [`TestApp::restart_database`]. Only on a server of its own.
    pub async fn crash_database(&self) {
        self.database.crash().await;
    }

    /// The database's server is there again.
    pub async fn restart_database(&self) {
        self.database.restart().await;
        // A pool asks a connection whether it is still there once it was idle for a second.
        let idle = Duration::from_millis(1_100);
        tokio::time::timeout(idle, std::future::pending::<()>()).await.ok();
    }

    /// The database as it was at this moment of its own clock, and nothing of what came later. Only where it is archived.
    pub async fn restore_database(&self, moment: chrono::DateTime<chrono::Utc>) {
        self.database.restore_to(moment).await;
        // As after every restart of the server.
        let idle = Duration::from_millis(1_100);
        tokio::time::timeout(idle, std::future::pending::<()>()).await.ok();
    }

    /// What the API tells Prometheus.
    pub async fn scrape_api(&self) -> String {
        scrape(self.api_internal()).await
    }

    /// What the worker tells Prometheus.
    pub async fn scrape_worker(&self) -> String {
        scrape(&self.worker_internal().await).await
    }

    /// What the timer does every hour, `drop-worker retain`, under its role.
    pub async fn retain(&self) {
        self.try_to_retain().await.expect("what is due goes");
    }

    /// The same where something may fail.
    pub async fn try_to_retain(&self) -> anyhow::Result<()> {
        let environment = self.environment.clone();
        let environment = environment.with("DATABASE_URL", self.database.url_as(Role::Retention));
        drop_worker::retain(&environment).await
    }

    /// The same as a process of its own, with some variables set otherwise.
    pub fn retain_process(&self, program: &str, changes: &[(&'static str, &str)]) -> Node {
        let database = self.database.url_as(Role::Retention);
        let own = [("DATABASE_URL", database.as_str()), ("DROP_PROFILE", "local")];
        Node::start(program, "retain", &[&own, changes].concat())
    }

    /// The database's address as this role has it.
    pub(crate) fn url_as(&self, role: Role) -> String {
        self.database.url_as(role)
    }

    /// Connections to its database as this role.
    pub async fn pool_as(&self, role: Role) -> PgPool {
        self.database.pool_as(role).await
    }

    /// Changes a lane as an operator would: `paused = true`.
    pub async fn lane(&self, name: &str, change: &'static str) {
        let changed = sqlx::query(AssertSqlSafe(format!("UPDATE lanes SET {change} WHERE name = $1")))
            .bind(name)
            .execute(&self.db)
            .await
            .expect("the lane can be changed");
        assert_eq!(changed.rows_affected(), 1, "no lane is called {name}");
    }

    /// The next commit of the service is done, and its answer is lost.
    pub fn lose_next_commit(&self) {
        self.lose_commit_after("");
    }

    /// The same with the next commit of a connection that has sent this statement before.
    pub fn lose_commit_after(&self, statement: &'static str) {
        let way = self.way.as_ref().expect("started on a lossy way");
        way.lose_commit_after(statement);
    }

    /// Whether that commit came, and its answer is lost.
    pub fn has_lost_a_commit(&self) -> bool {
        self.way.as_ref().is_some_and(LossyWay::has_lost_it)
    }

    /// The next answer of the database to the service that holds these bytes is lost.
    pub fn lose_next_answer(&self, holding: &'static [u8]) {
        let way = self.way.as_ref().expect("started on a lossy way");
        way.lose_next_answer(holding);
    }

    /// The settings of further processes, with some variables set otherwise.
    pub fn settings_with(&self, changes: &[(&'static str, &str)]) -> (ApiSettings, WorkerSettings) {
        let changed = |environment: Environment| {
            let changes = changes.iter();
            changes.fold(environment, |all, (name, value)| all.with(*name, *value))
        };
        let api = ApiSettings::read(&changed(self.api_environment())).expect("the API's settings");
        let worker = WorkerSettings::read(&changed(self.worker_environment()));
        (api, worker.expect("the worker's settings"))
    }

    fn worker_settings(&self) -> WorkerSettings {
        WorkerSettings::read(&self.worker_environment()).expect("the worker's settings")
    }

    fn api_environment(&self) -> Environment {
        self.environment.clone().with("DATABASE_URL", &self.addresses.api)
    }

    fn worker_environment(&self) -> Environment {
        self.environment.clone().with("DATABASE_URL", &self.addresses.worker)
    }

    /// One more worker, as a process of its own with some variables set otherwise.
    pub fn worker_process(&self, program: &str, changes: &[(&'static str, &str)]) -> Node {
        let changes = changes.iter().map(|&(name, value)| (name, value.to_owned()));
        let variables: Vec<_> = self.variables.iter().cloned().chain(changes).collect();
        fleet::worker(program, &variables, &self.addresses)
    }

    /// One more API, as a process of its own with some variables set otherwise, and where it is.
    pub async fn api_process(&self, program: &str, changes: &[(&'static str, &str)]) -> (Node, String) {
        let changes = changes.iter().map(|&(name, value)| (name, value.to_owned()));
        let variables: Vec<_> = self.variables.iter().cloned().chain(changes).collect();
        let own = listener().await;
        let url = url_of(&own);
        (fleet::api(program, &variables, &self.addresses, own), url)
    }

    /// The worker processes of a fleet.
    pub fn workers(&mut self) -> &mut [Node] {
        match &mut self.service {
            Service::Processes(running) => running.workers(),
            Service::Tasks { .. } => panic!("the worker is a task"),
        }
    }

    /// The processes of a fleet, APIs first.
    pub fn processes(&self) -> Vec<&Node> {
        match &self.service {
            Service::Processes(running) => running.all().collect(),
            Service::Tasks { .. } => panic!("API and worker are tasks"),
        }
    }

    /// Fails if a part of the service has ended.
    pub fn everything_runs(&mut self) {
        match &mut self.service {
            Service::Tasks { api, worker, .. } => {
                let worker_ended = worker
                    .get_mut()
                    .as_ref()
                    .is_some_and(|worker| worker.process.is_finished());
                assert!(!api.is_finished() && !worker_ended, "a part of the service ended");
            }
            Service::Processes(running) => running.all_run(),
        }
    }

    async fn until_it_answers(&mut self) {
        let answers = async || {
            self.everything_runs();
            let health = browser().get(format!("{}/v1/health", self.url)).send().await;
            health.is_ok_and(|health| health.status() == 200)
        };
        assert!(eventually(answers).await, "the API does not answer");
    }

    /// Waits, for a bounded time, until no job is ready or running, and fails if one is dead.
    pub async fn until_idle(&self) {
        let idle = async || {
            let (busy, dead): (i64, i64) = sqlx::query_as(
                "SELECT count(*) FILTER (WHERE state = 'running' OR state = 'ready' AND run_at <= now()),
                        count(*) FILTER (WHERE state = 'dead') FROM jobs",
            )
            .fetch_one(&self.db)
            .await
            .expect("the queue can be counted");
            assert_eq!(dead, 0, "dead jobs");
            busy == 0
        };
        assert!(eventually(idle).await, "the queue does not get empty");
    }

    /// Checks the books, ends the service and removes the database, with work still waiting: a circuit is open.
    pub async fn abandon(self) {
        self.check_the_books().await;
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

    /// For a test whose settings, or whose bank, deviate from the contract, which alone our description describes.
    #[must_use]
    pub fn off_contract(mut self) -> Self {
        self.judges = false;
        self
    }

    /// The same as [`TestApp::abandon`] where the test wrote payments itself: no books are kept of those.
    pub async fn abandon_without_books(self) {
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

async fn scrape(internal: &str) -> String {
    let answer = browser()
        .get(format!("{internal}/metrics"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.text().await.expect("a body")
}

pub(crate) fn url_of(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().expect("a bound address"))
}

/// A free port, taken from here on: a port that is only looked up may be somebody else's a moment later.
pub(crate) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}
