//! The whole service for one test: its own database, the simulated providers, API and worker, all on free ports.

use std::sync::{Arc, Weak};

use drop_common::{
    config::{ApiSettings, Environment, WorkerSettings},
    storage::{self, PoolOptions},
};
use drop_sandbox::{Sandbox, SandboxConfig};
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::Mutex, task::JoinHandle};
use uuid::Uuid;

use crate::cluster::Cluster;

/// One running service. [`TestApp::finish`] checks that it left no work behind.
pub struct TestApp {
    /// Where the API is.
    pub url: String,
    /// The API's internal listener.
    pub api_internal: String,
    /// The worker's internal listener.
    pub worker_internal: String,
    /// The simulated providers.
    pub sandbox: Sandbox,
    /// The test's own database.
    pub db: PgPool,
    database: String,
    cluster: Arc<Cluster>,
    processes: Vec<JoinHandle<anyhow::Result<()>>>,
}

/// The tests that run at the same time share one server; the last one to end stops it.
static CLUSTER: Mutex<Weak<Cluster>> = Mutex::const_new(Weak::new());

/// The server of the tests that run at this moment.
pub async fn cluster() -> Arc<Cluster> {
    let mut shared = CLUSTER.lock().await;
    if let Some(running) = shared.upgrade() {
        return running;
    }
    let fresh = Arc::new(Cluster::obtain(&|_| {}).await.expect("a PostgreSQL for the tests"));
    *shared = Arc::downgrade(&fresh);
    fresh
}

impl TestApp {
    /// Starts everything and waits until the API answers.
    pub async fn start() -> Self {
        drop_common::providers::install_tls();
        let cluster = cluster().await;
        let database = format!("drop_test_{}", Uuid::now_v7().simple());
        cluster
            .create_database(&database, None)
            .await
            .expect("a database for the test");
        let database_url = cluster.url(&database);
        let options = PoolOptions {
            max: 5,
            acquire_timeout: std::time::Duration::from_secs(5),
        };
        let db = storage::connect(&database_url.clone().into(), options)
            .await
            .expect("a connection");
        storage::migrate(&db).await.expect("the migrations apply");

        let (public, api_internal, worker_internal) = (listener().await, listener().await, listener().await);
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().expect("a bound address"));
        let url = address(&public);
        let (api_url, worker_url) = (address(&api_internal), address(&worker_internal));
        let sandbox = Sandbox::start(SandboxConfig {
            client_id: "drop-test".into(),
            client_secret: "bankid-test-secret".into(),
            redirect_uris: vec![format!("{url}/api/auth/bankid/callback")],
            neonomics_client_id: "drop-test".into(),
            neonomics_client_secret: "neonomics-test-secret".into(),
            sumsub_app_token: "sumsub-test-token".into(),
            sumsub_secret_key: "sumsub-test-webhook-secret".into(),
            sumsub_webhook_url: Some(format!("{url}/v1/webhooks/sumsub")),
            ..SandboxConfig::default()
        })
        .await
        .expect("the sandbox starts");
        let providers = sandbox.url();
        let environment: Environment = [
            ("DATABASE_URL", database_url),
            ("DROP_PROFILE", "local".into()),
            ("DROP_PUBLIC_URL", url.clone()),
            ("DROP_SESSION_KEY", SESSION_KEY.into()),
            ("DROP_ENCRYPTION_KEY", ENCRYPTION_KEY.into()),
            ("BANKID_MOCK", "true".into()),
            ("BANKID_ISSUER", format!("{providers}/bankid")),
            ("BANKID_CLIENT_ID", "drop-test".into()),
            ("BANKID_CLIENT_SECRET", "bankid-test-secret".into()),
            ("BANKID_SYNTHETIC_IDS", "tenor".into()),
            ("NEONOMICS_BASE_URL", format!("{providers}/neonomics")),
            ("NEONOMICS_TOKEN_URL", format!("{providers}/neonomics/auth/token")),
            ("NEONOMICS_CLIENT_ID", "drop-test".into()),
            ("NEONOMICS_CLIENT_SECRET", "neonomics-test-secret".into()),
            ("SUMSUB_BASE_URL", format!("{providers}/sumsub")),
            ("SUMSUB_APP_TOKEN", "sumsub-test-token".into()),
            ("SUMSUB_SECRET_KEY", "sumsub-test-webhook-secret".into()),
        ]
        .into_iter()
        .collect();
        let api = ApiSettings::read(&environment).expect("the API's settings");
        let worker = WorkerSettings::read(&environment).expect("the worker's settings");
        let processes = vec![
            tokio::spawn(drop_api::serve(api, public, api_internal)),
            tokio::spawn(drop_worker::work(worker, worker_internal)),
        ];
        let app = Self {
            url,
            api_internal: api_url,
            worker_internal: worker_url,
            sandbox,
            db,
            database,
            cluster,
            processes,
        };
        app.until_it_answers().await;
        app
    }

    async fn until_it_answers(&self) {
        for _ in 0..200 {
            if let Some(ended) = self.processes.iter().find(|process| process.is_finished()) {
                panic!("a process ended while starting: {ended:?}");
            }
            let health = crate::person::browser()
                .get(format!("{}/v1/health", self.url))
                .send()
                .await;
            if health.is_ok_and(|health| health.status() == 200) {
                return;
            }
            tokio::time::timeout(std::time::Duration::from_millis(50), std::future::pending::<()>())
                .await
                .ok();
        }
        panic!("the API does not answer");
    }

    /// Waits, for a bounded time, until no job is ready or running, and fails if one is dead.
    pub async fn until_idle(&self) {
        for _ in 0..200 {
            let (busy, dead): (i64, i64) = sqlx::query_as(
                "SELECT count(*) FILTER (WHERE state = 'running' OR state = 'ready' AND run_at <= now()),
                        count(*) FILTER (WHERE state = 'dead') FROM jobs",
            )
            .fetch_one(&self.db)
            .await
            .expect("the queue can be counted");
            assert_eq!(dead, 0, "dead jobs");
            if busy == 0 {
                return;
            }
            tokio::time::timeout(std::time::Duration::from_millis(50), std::future::pending::<()>())
                .await
                .ok();
        }
        panic!("the queue does not get empty");
    }

    /// Ends the service and removes the database, with work still waiting: a circuit is open.
    pub async fn abandon(self) {
        self.end().await;
    }

    /// Ends the service, checks that the queue is empty, and removes the database.
    pub async fn finish(self) {
        self.until_idle().await;
        self.end().await;
    }

    async fn end(self) {
        for process in &self.processes {
            process.abort();
        }
        self.db.close().await;
        self.sandbox.stop().await.expect("the sandbox stops");
        self.cluster
            .drop_database(&self.database)
            .await
            .expect("the database goes");
    }
}

/// A free port, taken from here on: a port that is only looked up may be somebody else's a moment later.
async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

/// An Ed25519 key in PKCS#8 made for these tests; it signs nothing else.
const SESSION_KEY: &str = "MC4CAQAwBQYDK2VwBCIEILR1TN2wi9YOEh4xnRQB1N1F0T+13b59SQaqg3IfiOhi";
/// 32 bytes for these tests.
const ENCRYPTION_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
