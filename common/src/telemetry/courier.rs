//! Takes alerts to Sentry, each at once and on a connection that nothing else uses, and knows what became of it. Its thread has a
//! runtime of its own, which a process that ends leaves behind: the other one would wait for a name that cannot be looked up. A
//! client's connections live in the runtime that made them, so this client is its own, too.

use std::{io, thread};

use reqwest::header::CONTENT_TYPE;
use sentry::{Envelope, types::Dsn};
use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot},
};

/// The way to the thread.
pub(super) struct Courier(mpsc::UnboundedSender<Letter>);

/// An envelope, and who waits for what becomes of it.
type Letter = (Vec<u8>, oneshot::Sender<bool>);

impl Courier {
    /// `agent` is what the SDK calls itself.
    pub(super) fn start(http: reqwest::Client, dsn: &Dsn, agent: &str) -> io::Result<Self> {
        let (url, auth) = (dsn.envelope_api_url().to_string(), dsn.to_auth(Some(agent)).to_string());
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (desk, mut letters) = mpsc::unbounded_channel::<Letter>();
        let going = async move {
            while let Some((envelope, sender)) = letters.recv().await {
                let request = http
                    .post(&url)
                    .header("x-sentry-auth", &auth)
                    .header(CONTENT_TYPE, "application/x-sentry-envelope")
                    .body(envelope);
                tokio::spawn(async move {
                    let is_taken = request.send().await.is_ok_and(|answer| answer.status().is_success());
                    // Whoever sent it may have gone.
                    let _gone = sender.send(is_taken);
                });
            }
        };
        let thread = thread::Builder::new().name("sentry-alerts".to_owned());
        thread.spawn(move || runtime.block_on(going))?;
        Ok(Self(desk))
    }

    /// Whether Sentry has taken it.
    pub(super) async fn send(&self, envelope: &Envelope) -> bool {
        let (mut bytes, (sender, outcome)) = (Vec::new(), oneshot::channel());
        envelope.to_writer(&mut bytes).is_ok() && self.0.send((bytes, sender)).is_ok() && outcome.await == Ok(true)
    }
}
