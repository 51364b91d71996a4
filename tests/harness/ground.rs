//! What a service under test stands on: a database, the simulated providers, and the configuration that joins them.

use std::sync::Arc;

use drop_sandbox::Sandbox;
use tokio::net::TcpListener;

use crate::{
    app::{listener, url_of},
    cluster::Role,
    database::TestDatabase,
    ledger::Ledger,
    settings,
};

/// `DATABASE_URL` of each kind of process: they are different roles.
#[derive(Clone)]
pub(crate) struct Addresses {
    pub(crate) api: String,
    pub(crate) worker: String,
}

/// What the service stands on.
pub(crate) struct Ground {
    /// Keeps what arrives at the simulated bank, from the first request on.
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) database: TestDatabase,
    pub(crate) addresses: Addresses,
    pub(crate) public: TcpListener,
    pub(crate) url: String,
    pub(crate) sandbox: Sandbox,
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Ground {
    /// On a database beside those of other tests, with some variables set otherwise.
    pub(crate) async fn prepare(changes: &[(&'static str, &str)]) -> Self {
        Self::on(TestDatabase::new().await, changes).await
    }

    /// On this database.
    pub(crate) async fn on(database: TestDatabase, changes: &[(&'static str, &str)]) -> Self {
        drop_common::providers::install_tls();
        let public = listener().await;
        let url = url_of(&public);
        let sandbox = Sandbox::start(settings::sandbox(&url))
            .await
            .expect("the sandbox starts");
        let ledger = Arc::new(Ledger::default());
        sandbox
            .witnessed_by(ledger.witness(&database.pool))
            .expect("nobody else looks");
        let mut variables = settings::variables(&url, &sandbox.url());
        variables.extend(changes.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Self {
            ledger,
            addresses: Addresses {
                api: database.url_as(Role::Api),
                worker: database.url_as(Role::Worker),
            },
            database,
            public,
            url,
            sandbox,
            variables,
        }
    }
}
