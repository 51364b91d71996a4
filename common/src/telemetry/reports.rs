//! Errors, panics and alerts as events, requests and jobs as transactions, in Sentry.
//!
//! Nobody waits for Sentry: a report is put into a short queue, or dropped where that is full, and a thread of its own sends
//! it. What becomes of it there changes nothing here. Alerts alone go [a way of their own](super::courier), on which none is
//! dropped.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use secrecy::ExposeSecret;
use sentry::{
    Client, ClientOptions, Envelope, Hub, Transport, TransportFactory, TransportOptions,
    integrations::tracing::ErrorLayer,
    protocol::Event,
    transports::{ReqwestHttpTransport, ReqwestHttpTransportOptions},
};
use tracing::{Level, Subscriber};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

use super::{
    courier::{Courier, Delivery},
    is_of_the_wire, scrub,
};
use crate::{
    alerts::{Alert, Severity},
    config::SentryConfig,
};

/// How long sending one report may take.
const SENDING: Duration = Duration::from_secs(10);
/// How long sending an alert may take.
const SENDING_ALERT: Duration = Duration::from_secs(5);
/// How long the end of a process waits for the last reports; a part of what its grace time leaves after the work.
const LAST_REPORTS: Duration = Duration::from_secs(2);

static ON: AtomicBool = AtomicBool::new(false);
static ALERTS: OnceLock<Alerts> = OnceLock::new();

/// Who writes alerts, and who takes them there.
struct Alerts {
    program: &'static str,
    client: Arc<Client>,
    courier: Courier,
}

/// Whether this process reports.
pub(super) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// The reports of this process. When this is dropped, what waits is [sent](send_last_reports).
#[must_use = "dropped at once, it reports nothing"]
pub struct Reports(());

impl Reports {
    /// No client and no thread.
    pub(super) fn none() -> Self {
        Self(())
    }

    /// Whoever works in this process from here on reports.
    pub(super) fn start(config: &SentryConfig, program: &'static str) -> Self {
        let (client, courier) = match connected(config) {
            Ok(both) => both,
            Err(error) => {
                tracing::warn!(%error, "nothing is reported to Sentry: there can be no connection to it");
                return Self::none();
            }
        };
        // In the process's hub, from which every thread's is derived when that is first asked for.
        let hub = Hub::main();
        hub.bind_client(Some(Arc::clone(&client)));
        hub.configure_scope(|scope| scope.set_tag("program", program));
        let alerts = Alerts {
            program,
            client,
            courier,
        };
        // A second start in one process changes nothing.
        let _kept = ALERTS.set(alerts);
        ON.store(true, Ordering::Relaxed);
        Self(())
    }
}

fn connected(config: &SentryConfig) -> io::Result<(Arc<Client>, Courier)> {
    let options = ClientOptions::new()
        .dsn(config.dsn.expose_secret())
        .release(concat!("drop@", env!("CARGO_PKG_VERSION")))
        .environment(config.profile.as_str())
        .traces_sample_rate(config.traces_sample_rate)
        .send_default_pii(false)
        .max_breadcrumbs(0)
        .before_breadcrumb(|_| None)
        .before_send(|event| Some(scrub::scrubbed(event)))
        .transport(Over(http(SENDING)?));
    let client = Client::with_options(options);
    let dsn = client.dsn().ok_or_else(|| io::Error::other("the DSN cannot be read"))?;
    let courier = Courier::start(http(SENDING_ALERT)?, dsn, &client.options().user_agent)?;
    Ok((Arc::new(client), courier))
}

impl Drop for Reports {
    fn drop(&mut self) {
        send_last_reports();
    }
}

/// Sends what waits, for two seconds at most, and reports nothing from here on. For the end of a process; also before
/// `process::exit`, which drops nothing.
pub fn send_last_reports() {
    if !ON.swap(false, Ordering::Relaxed) {
        return;
    }
    let Some(client) = Hub::main().client() else { return };
    // On a thread that may stay behind: closing waits for a report that is under way, and that for a server that hangs.
    let (closed, wait) = mpsc::channel();
    thread::spawn(move || {
        client.close(Some(LAST_REPORTS));
        let _gone = closed.send(());
    });
    let _late = wait.recv_timeout(LAST_REPORTS);
}

/// Makes events of errors in the log. Alerts are told by [`super::tell_alerts`], once over all processes; what carries bytes
/// over the wire carries reports too, and would report its own failures for ever.
#[derive(Default)]
pub(super) struct Errors(ErrorLayer);

impl<S> Layer<S> for Errors
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let line = event.metadata();
        if *line.level() == Level::ERROR && line.target() != "alert" && !is_of_the_wire(line.target()) {
            self.0.on_event(event, context);
        }
    }
}

/// Tells an alert; `cause` is the hash of its cause. Name and cause make the issue: what is about another cause is another one,
/// of which people hear.
pub(super) async fn tell(alert: &Alert, cause: &str, about: &str) -> Delivery {
    let Some(alerts) = ALERTS.get() else {
        return Delivery::NotTaken;
    };
    let level = match alert.severity {
        Severity::Critical => sentry::Level::Fatal,
        Severity::High => sentry::Level::Error,
        Severity::Medium => sentry::Level::Warning,
    };
    let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let event = Event {
        level,
        message: Some(format!("{}: {about}", alert.meaning)),
        fingerprint: vec![alert.name.into(), cause.to_owned().into()].into(),
        tags: BTreeMap::from([
            tag("program", alerts.program),
            tag("alert.name", alert.name),
            tag("alert.severity", alert.severity.as_str()),
        ]),
        ..Event::default()
    };
    match alerts.client.prepare_event(event, None) {
        Some(event) => alerts.courier.send(&Envelope::from(event)).await,
        None => Delivery::NotTaken,
    }
}

/// As towards providers: one attempt, no redirect, no proxy from the environment, and an end.
fn http(longest: Duration) -> io::Result<reqwest::Client> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .timeout(longest)
        .build()
        .map_err(io::Error::other)
}

/// Sends over this client.
struct Over(reqwest::Client);

impl TransportFactory for Over {
    fn create_transport_with_options(&self, options: TransportOptions) -> Arc<dyn Transport> {
        let options = ReqwestHttpTransportOptions::from(options).with_client(self.0.clone());
        Arc::new(Scrubbing(options.build()))
    }
}

/// Scrubs what the SDK shows nobody before it sends it: transactions.
struct Scrubbing(ReqwestHttpTransport);

impl Transport for Scrubbing {
    fn send_envelope(&self, envelope: Envelope) {
        self.0.send_envelope(scrub::scrubbed_envelope(envelope));
    }

    fn flush(&self, timeout: Duration) -> bool {
        self.0.flush(timeout)
    }

    fn shutdown(&self, timeout: Duration) -> bool {
        self.0.shutdown(timeout)
    }
}
