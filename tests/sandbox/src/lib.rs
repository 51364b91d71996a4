//! BankID, Neonomics and Sumsub, simulated on one listener, for tests and local use.
//!
//! The providers check what the real ones check and answer in JSON of their own making: nothing here is shared with
//! the client under test, so that both cannot be wrong together. Whatever a test can do in process can also be done
//! over HTTP under `/control`.

mod bank;
mod bankid;
mod call;
mod cli;
mod clock;
mod confidential;
mod config;
mod control;
mod encoding;
mod faults;
mod journal;
mod neonomics;
mod operation;
mod page;
mod serve;
mod shared;
mod sumsub;
mod witness;

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::{FutureExt as _, future::BoxFuture};
use poem::{
    Server,
    listener::{Acceptor, Listener, TcpListener},
};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    call::{Call, Reply},
    confidential::Confidential,
    shared::Shared,
};

pub use crate::{
    bank::{Bank, Decision},
    bankid::{Algorithm, BankId, Forgery, Mutation, Parameter, Person},
    cli::{Arguments, run},
    clock::Clock,
    config::SandboxConfig,
    faults::{Fault, FaultRule, Faults},
    journal::{Effect, Entry, Journal},
    neonomics::{Account, BankSettings, Consent, Neonomics, Payment},
    operation::{Operation, Provider},
    sumsub::{Applicant, Delivery, Digest, Review, Sumsub, TimeForm, Webhook},
    witness::Arrival,
};

/// How long connections may take to end when the sandbox stops; hanging ones are cut then.
const STOP_PATIENCE: Duration = Duration::from_millis(200);

/// A running sandbox. Dropping it stops it as well, without waiting.
pub struct Sandbox {
    app: Arc<App>,
    // Ends the server when sent to or dropped.
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Sandbox {
    /// Binds the listener and serves. On return the sandbox can be reached.
    pub async fn start(config: SandboxConfig) -> anyhow::Result<Self> {
        // Whoever installed one before has installed the same; without any, building a client panics.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let acceptor = TcpListener::bind(config.listen)
            .into_acceptor()
            .await
            .context("the sandbox cannot listen there")?;
        let bound = acceptor
            .local_addr()
            .into_iter()
            .find_map(|address| address.as_socket_addr().copied());
        let bound = bound.context("the listener has no address")?;
        let url = config.public_url.clone().unwrap_or_else(|| format!("http://{bound}"));
        let app = Arc::new(App::new(config, url)?);
        let routes = serve::routes(&app);
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let signal = async {
                let _ = stopped.await;
            };
            Server::new_with_acceptor(acceptor)
                .run_with_graceful_shutdown(routes, signal, Some(STOP_PATIENCE))
                .await
        });
        Ok(Self { app, stop, server })
    }

    /// The address clients use, without a trailing slash.
    pub fn url(&self) -> String {
        self.app.shared.url.clone()
    }

    /// BankID.
    pub fn bankid(&self) -> &BankId {
        &self.app.bankid
    }

    /// Neonomics and the bank's interface behind it.
    pub fn neonomics(&self) -> &Neonomics {
        &self.app.neonomics
    }

    /// The bank's pages for the person.
    pub fn bank(&self) -> &Bank {
        &self.app.bank
    }

    /// Sumsub.
    pub fn sumsub(&self) -> &Sumsub {
        &self.app.sumsub
    }

    /// The clock all providers share.
    pub fn clock(&self) -> &Clock {
        &self.app.shared.clock
    }

    /// The faults waiting for requests.
    pub fn faults(&self) -> &Faults {
        &self.app.shared.faults
    }

    /// What was asked and what came of it.
    pub fn journal(&self) -> &Journal {
        &self.app.shared.journal
    }

    /// Lets the next `times` requests for an operation go wrong.
    pub fn fault(&self, operation: Operation, fault: Fault, times: u32) {
        self.app.shared.faults.add(operation, fault, Some(times));
    }

    /// Lets somebody look at every request from now on before anything comes of it. There is one such witness.
    pub fn witnessed_by<Looking>(
        &self,
        witness: impl Fn(Arrival) -> Looking + Send + Sync + 'static,
    ) -> anyhow::Result<()>
    where
        Looking: Future<Output = ()> + Send + 'static,
    {
        let witness = move |arrival| -> BoxFuture<'static, ()> { witness(arrival).boxed() };
        let set = self.app.shared.witness.set(Box::new(witness));
        set.map_err(|_| anyhow::anyhow!("there is a witness already"))
    }

    /// Back to the state after the start; the address, the configuration and the witness stay.
    pub fn reset(&self) -> anyhow::Result<()> {
        self.app.reset()
    }

    /// Stops listening and cuts what is still open.
    pub async fn stop(self) -> anyhow::Result<()> {
        let _ = self.stop.send(());
        self.server
            .await
            .context("the server task failed")?
            .context("the server failed")
    }
}

/// All providers, as the routes see them.
pub(crate) struct App {
    pub(crate) shared: Arc<Shared>,
    pub(crate) bankid: BankId,
    pub(crate) neonomics: Arc<Neonomics>,
    pub(crate) bank: Bank,
    pub(crate) sumsub: Sumsub,
}

impl App {
    fn new(config: SandboxConfig, url: String) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            config,
            url,
            clock: Clock::default(),
            journal: Journal::default(),
            confidential: Confidential::default(),
            faults: Faults::default(),
            witness: OnceLock::new(),
        });
        let neonomics = Arc::new(Neonomics::new(Arc::clone(&shared)));
        Ok(Self {
            bankid: BankId::new(Arc::clone(&shared))?,
            bank: Bank::new(Arc::clone(&shared), Arc::clone(&neonomics)),
            sumsub: Sumsub::new(Arc::clone(&shared))?,
            neonomics,
            shared,
        })
    }

    pub(crate) fn answer(&self, operation: Operation, call: &Call) -> Reply {
        match operation.provider() {
            Provider::Bankid => self.bankid.answer(operation, call),
            Provider::Neonomics => self.neonomics.answer(operation, call),
            Provider::Bank => self.bank.answer(operation, call),
            Provider::Sumsub => self.sumsub.answer(operation, call),
        }
    }

    pub(crate) fn reset(&self) -> anyhow::Result<()> {
        self.shared.clock.reset();
        self.shared.faults.clear(None);
        self.shared.journal.clear();
        self.shared.confidential.clear();
        self.neonomics.reset();
        self.sumsub.reset();
        self.bankid.reset()
    }
}

/// The guarded value. A test that panicked while holding it must not take the others down with it.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
