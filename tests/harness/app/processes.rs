//! The service's processes: those that run, and further ones; how they are configured, and what they say.

use std::sync::OnceLock;

use drop_common::config::{ApiSettings, Environment, WorkerSettings};
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use super::{Service, TestApp, Worker, listener, url_of};
use crate::{cluster::Role, fleet, log_file::LogFile, person::browser, processes::Node};

impl TestApp {
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

    /// What its processes have said, where they are no tasks of ours and write to no other file.
    pub fn processes_said(&self) -> String {
        self.log.as_ref().map(LogFile::text).unwrap_or_default()
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

    pub(super) fn worker_settings(&self) -> WorkerSettings {
        WorkerSettings::read(&self.worker_environment()).expect("the worker's settings")
    }

    fn api_environment(&self) -> Environment {
        self.environment.clone().with("DATABASE_URL", &self.addresses.api)
    }

    fn worker_environment(&self) -> Environment {
        self.environment.clone().with("DATABASE_URL", &self.addresses.worker)
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

    /// What the API tells Prometheus.
    pub async fn scrape_api(&self) -> String {
        scrape(self.api_internal()).await
    }

    /// What the worker tells Prometheus.
    pub async fn scrape_worker(&self) -> String {
        scrape(&self.worker_internal().await).await
    }
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
