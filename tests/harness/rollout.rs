//! The service as processes that are replaced one by one under whoever uses it, as a rollout does: a new one is asked for nothing
//! before it is ready, an old one for nothing more once it says that it is not.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::PgPool;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{
    app::{TestApp, eventually, listener},
    cluster::Role,
    database::TestDatabase,
    fleet::{self, Running},
    ground::{Addresses, Ground},
    person::browser,
    processes::Node,
};

/// How often a process is asked whether it is ready: oftener than in the manifests, as its drain is shorter.
const PROBE: Duration = Duration::from_millis(100);

/// One release's programs.
#[derive(Debug, Clone)]
pub enum Build {
    /// `drop-node`, which a test names by `env!("CARGO_BIN_EXE_drop-node")`.
    Node(&'static str),
    /// A folder with `drop-api` and `drop-worker`, as they are shipped.
    Shipped(PathBuf),
}

/// The running processes, two of each kind.
pub struct Rollout {
    build: Build,
    variables: Vec<(&'static str, String)>,
    addresses: Addresses,
    apis: Vec<Api>,
    workers: Vec<Node>,
    balanced: Arc<Balanced>,
    /// Whether each process logs in as its own role, and not as the owner of the tables.
    has_roles: bool,
}

struct Api {
    node: Node,
    upstream: Arc<Upstream>,
    probing: JoinHandle<()>,
}

/// An API process as the balancer knows it.
struct Upstream {
    public: SocketAddr,
    ready: AtomicBool,
}

/// What the balancer chooses from.
#[derive(Default)]
struct Balanced {
    upstreams: Mutex<Vec<Arc<Upstream>>>,
    turn: AtomicUsize,
}

impl Balanced {
    /// The next one that is ready.
    fn next(&self) -> Option<SocketAddr> {
        let upstreams = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
        let ready: Vec<_> = upstreams
            .iter()
            .filter(|one| one.ready.load(Ordering::Acquire))
            .collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Some(ready.get(turn.checked_rem(ready.len())?)?.public)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Upstream>>)) {
        change(&mut self.upstreams.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Rollout {
    /// Starts two of each kind; connections to `public` go to those API processes that are ready, in turn.
    async fn start(
        build: Build,
        public: TcpListener,
        variables: Vec<(&'static str, String)>,
        addresses: Addresses,
        has_roles: bool,
    ) -> (Self, JoinHandle<()>) {
        let balanced = Arc::new(Balanced::default());
        let mut rollout = Self {
            build,
            variables,
            addresses,
            apis: Vec::new(),
            workers: Vec::new(),
            balanced: Arc::clone(&balanced),
            has_roles,
        };
        for _ in 0..2 {
            let api = rollout.start_api().await;
            rollout.apis.push(api);
            let worker = rollout.start_worker();
            rollout.workers.push(worker);
        }
        let balancer = tokio::spawn(async move {
            while let Ok((mut client, _)) = public.accept().await {
                let Some(upstream) = balanced.next() else { continue };
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(upstream).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        (rollout, balancer)
    }

    /// Replaces every process by one of this release, one at a time: the new one first, then SIGTERM to the old one, which
    /// ends by itself and in order. First what takes requests, then what does the work.
    pub async fn to(&mut self, build: Build) {
        self.build = build;
        for _ in 0..self.apis.len() {
            let new = self.start_api().await;
            let mut old = self.apis.remove(0);
            self.apis.push(new);
            old.node.signal("TERM");
            assert!(old.node.ended().await.success(), "an API did not end in order");
            old.probing.abort();
            self.balanced
                .change(|upstreams| upstreams.retain(|one| !Arc::ptr_eq(one, &old.upstream)));
        }
        for _ in 0..self.workers.len() {
            let new = self.start_worker();
            let mut old = self.workers.remove(0);
            self.workers.push(new);
            old.signal("TERM");
            assert!(old.ended().await.success(), "a worker did not end in order");
        }
    }

    /// Whether each process logs in as its own role.
    pub fn has_roles(&self) -> bool {
        self.has_roles
    }

    /// From here on each process that starts logs in as its own role: what is left of "Giving a running system its roles"
    /// (`ops/README.md`) where the tables are the migrations' already.
    pub fn give_roles(&mut self, app: &TestApp) {
        self.addresses = Addresses {
            api: app.url_as(Role::Api),
            worker: app.url_as(Role::Worker),
        };
        self.has_roles = true;
    }

    /// Fails if a process has ended by itself.
    pub fn everything_runs(&mut self) {
        let apis = self.apis.iter_mut().map(|api| &mut api.node);
        for node in apis.chain(&mut self.workers) {
            assert!(node.is_running(), "a process has ended");
        }
    }

    /// Starts an API process and waits until it is ready.
    async fn start_api(&mut self) -> Api {
        let tells = std::env::temp_dir().join(format!("drop-node-{}", uuid::Uuid::new_v4().simple()));
        let mut variables = self.variables.clone();
        let (node, public) = match &self.build {
            Build::Node(program) => {
                variables.push(("DROP_NODE_TELLS", tells.display().to_string()));
                let own = listener().await;
                let public = own.local_addr().expect("a bound address");
                (fleet::api(program, &variables, &self.addresses, own), public)
            }
            Build::Shipped(folder) => {
                let (public, internal) = (free().await, free().await);
                std::fs::write(&tells, internal.to_string()).expect("a file");
                variables.push(("DROP_API_LISTEN", public.to_string()));
                variables.push(("DROP_API_INTERNAL_LISTEN", internal.to_string()));
                let node = shipped(&folder.join("drop-api"), &variables, &self.addresses.api);
                (node, public)
            }
        };
        let upstream = Arc::new(Upstream {
            public,
            ready: AtomicBool::default(),
        });
        self.balanced.change(|upstreams| upstreams.push(Arc::clone(&upstream)));
        let probing = tokio::spawn(probe(Arc::clone(&upstream), tells));
        let is_ready = async || upstream.ready.load(Ordering::Acquire);
        assert!(eventually(is_ready).await, "an API process does not get ready");
        Api {
            node,
            upstream,
            probing,
        }
    }

    fn start_worker(&self) -> Node {
        match &self.build {
            Build::Node(program) => fleet::worker(program, &self.variables, &self.addresses),
            Build::Shipped(folder) => {
                let mut variables = self.variables.clone();
                variables.push(("DROP_WORKER_INTERNAL_LISTEN", "127.0.0.1:0".to_owned()));
                shipped(&folder.join("drop-worker"), &variables, &self.addresses.worker)
            }
        }
    }
}

impl TestApp {
    /// Starts two processes of each kind, which [`Rollout::to`] replaces. `migrated`: the database has the newest schema; else it has
    /// that of the release, whose processes are the owner of the tables where its migrations grant the roles nothing yet.
    pub async fn start_rollout(build: Build, migrated: bool, changes: &[(&'static str, &str)]) -> (Self, Rollout) {
        let database = if migrated {
            TestDatabase::new().await
        } else {
            TestDatabase::without_tables().await
        };
        let owner = database.url_as(Role::Migrate);
        let mut ground = Ground::on(database, changes).await;
        if !migrated {
            build.migrate(&owner).await;
        }
        let has_roles = roles_may_something(&ground.database.pool).await;
        if !has_roles {
            ground.addresses = Addresses {
                api: owner.clone(),
                worker: owner,
            };
        }
        let mut started = None;
        let start = async |public: TcpListener, variables: &[(&'static str, String)], at: &Addresses| {
            let (rollout, balancer) = Rollout::start(build, public, variables.to_vec(), at.clone(), has_roles).await;
            started = Some(rollout);
            Running::elsewhere(balancer)
        };
        let app = Self::on_processes(ground, start).await;
        (app, started.expect("they were started"))
    }

    /// Applies the migrations of this release.
    pub async fn migrate(&self, build: &Build) {
        build.migrate(&self.url_as(Role::Migrate)).await;
    }
}

/// Whether the migrations that were applied have granted something to the service's roles.
async fn roles_may_something(db: &PgPool) -> bool {
    let granted = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = 'drop_api' AND has_table_privilege(oid, 'transactions', 'INSERT'))";
    sqlx::query_scalar(granted).fetch_one(db).await.expect("an answer")
}

impl Build {
    /// Applies the release's migrations, with the database's address as their role has it.
    async fn migrate(&self, database: &str) {
        let program = match self {
            Self::Node(program) => PathBuf::from(program),
            Self::Shipped(folder) => folder.join("drop-worker"),
        };
        let mut migrating = Node::start(
            &program.to_string_lossy(),
            "migrate",
            &[("DATABASE_URL", database), ("DROP_PROFILE", "local")],
        );
        assert!(migrating.ended().await.success(), "the migrations do not apply");
    }
}

fn shipped(program: &Path, variables: &[(&'static str, String)], database: &str) -> Node {
    let mut all: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    all.push(("DATABASE_URL", database));
    Node::start_with(&program.to_string_lossy(), "run", &all, Stdio::null())
}

/// Asks the process whether it is ready, for as long as it runs. `tells`: the file in which it says where to ask.
async fn probe(upstream: Arc<Upstream>, tells: PathBuf) {
    let (mut ticks, client, mut internal) = (tokio::time::interval(PROBE), browser(), String::new());
    loop {
        ticks.tick().await;
        if internal.is_empty() {
            internal = std::fs::read_to_string(&tells).unwrap_or_default();
            continue;
        }
        std::fs::remove_file(&tells).ok();
        let answer = client.get(format!("http://{internal}/readyz")).send().await;
        let ready = answer.is_ok_and(|answer| answer.status() == 200);
        upstream.ready.store(ready, Ordering::Release);
    }
}

/// A free port. The shipped programs take no listener, so somebody else may take it first: they end, and say so.
async fn free() -> SocketAddr {
    listener().await.local_addr().expect("a bound address")
}
