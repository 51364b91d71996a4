//! The service's way to its database: as whom it goes there, and what is lost on it.

use std::time::Duration;

use sqlx::PgPool;

use super::TestApp;
use crate::{
    cluster::{Role, for_login},
    ground::Addresses,
    lossy::LossyWay,
};

impl TestApp {
    /// The database's address as this role has it.
    pub(crate) fn url_as(&self, role: Role) -> String {
        self.database.url_as(role)
    }

    /// Connections to its database as this role.
    pub async fn pool_as(&self, role: Role) -> PgPool {
        self.database.pool_as(role).await
    }

    /// The database's address for this login.
    pub fn address_of(&self, login: &str) -> String {
        for_login(&self.database.url(), login)
    }

    /// Whatever starts from here on has the address of its role.
    pub fn use_the_roles(&mut self) {
        self.addresses = Addresses {
            api: self.database.url_as(Role::Api),
            worker: self.database.url_as(Role::Worker),
        };
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
        until_pools_doubt_their_connections().await;
    }

    /// The database as it was at this moment of its own clock, and nothing of what came later. Only where it is archived.
    pub async fn restore_database(&self, moment: chrono::DateTime<chrono::Utc>) {
        self.database.restore_to(moment).await;
        until_pools_doubt_their_connections().await;
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

    /// The same with the next statement of its own that holds this text, where a connection sends it for the first time.
    pub fn lose_answer_to(&self, statement: &'static str) {
        let way = self.way.as_ref().expect("started on a lossy way");
        way.lose_answer_to(statement);
    }

    /// Whether that commit or statement came, and its answer is lost.
    pub fn has_lost_a_commit(&self) -> bool {
        self.way.as_ref().is_some_and(LossyWay::has_lost_it)
    }

    /// The next answer of the database to the service that holds these bytes is lost.
    pub fn lose_next_answer(&self, holding: &'static [u8]) {
        let way = self.way.as_ref().expect("started on a lossy way");
        way.lose_next_answer(holding);
    }
}

/// After a restart of the server: a pool asks a connection whether it is still there once it was idle for a second.
async fn until_pools_doubt_their_connections() {
    let idle = Duration::from_millis(1_100);
    tokio::time::timeout(idle, std::future::pending::<()>()).await.ok();
}
