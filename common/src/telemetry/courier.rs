//! Takes alerts to Sentry, each at once and on a connection that nothing else uses, and knows what became of it. Its thread has a
//! runtime of its own, which a process that ends leaves behind: the other one would wait for a name that cannot be looked up. A
//! client's connections live in the runtime that made them, so this client is its own, too.

use std::{io, thread};

use reqwest::{StatusCode, header::CONTENT_TYPE};
use sentry::{Envelope, types::Dsn};
use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot},
};

/// The way to the thread.
pub(super) struct Courier(mpsc::UnboundedSender<Letter>);

/// An envelope, and who waits for what becomes of it.
type Letter = (Vec<u8>, oneshot::Sender<Delivery>);

/// What became of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Sentry has it.
    Taken,
    /// Sentry will not take it however often it comes: its answer.
    Refused(StatusCode),
    /// Sentry was not reached, or cannot take it at present.
    NotTaken,
}

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
                    let came = request.send().await.map(|answer| answer.status());
                    // Whoever sent it may have gone.
                    let _gone = sender.send(came.map_or(Delivery::NotTaken, delivery));
                });
            }
        };
        let thread = thread::Builder::new().name("sentry-alerts".to_owned());
        thread.spawn(move || runtime.block_on(going))?;
        Ok(Self(desk))
    }

    /// What becomes of it.
    pub(super) async fn send(&self, envelope: &Envelope) -> Delivery {
        let (mut bytes, (sender, outcome)) = (Vec::new(), oneshot::channel());
        if envelope.to_writer(&mut bytes).is_err() || self.0.send((bytes, sender)).is_err() {
            return Delivery::NotTaken;
        }
        outcome.await.unwrap_or(Delivery::NotTaken)
    }
}

fn delivery(answer: StatusCode) -> Delivery {
    match answer {
        answer if answer.is_success() => Delivery::Taken,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Delivery::NotTaken,
        answer if answer.is_client_error() => Delivery::Refused(answer),
        _ => Delivery::NotTaken,
    }
}
