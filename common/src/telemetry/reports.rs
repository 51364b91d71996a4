//! Errors, panics and alerts as events, requests and jobs as transactions, in Sentry.
//!
//! Nobody waits for Sentry: a report is put into a short queue, or dropped where that is full, and a thread of its own sends
//! it. What becomes of it there changes nothing here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use secrecy::ExposeSecret;
use sentry::{
    Client, ClientOptions, Hub, Transport, TransportFactory, TransportOptions, integrations::tracing::ErrorLayer,
    transports::ReqwestHttpTransportOptions,
};
use tracing::{Level, Subscriber};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

use super::{is_of_the_wire, scrub::scrubbed};
use crate::{
    alerts::{Alert, Severity},
    config::SentryConfig,
};

/// How long sending one report may take.
const SENDING: Duration = Duration::from_secs(10);
/// How long the end of a process waits for the last reports; a part of what its grace time leaves after the work.
const LAST_REPORTS: Duration = Duration::from_secs(2);

static ON: AtomicBool = AtomicBool::new(false);

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
        let http = match http() {
            Ok(http) => http,
            Err(error) => {
                tracing::warn!(%error, "nothing is reported to Sentry: there can be no connection to it");
                return Self::none();
            }
        };
        let options = ClientOptions::new()
            .dsn(config.dsn.expose_secret())
            .release(concat!("drop@", env!("CARGO_PKG_VERSION")))
            .environment(config.profile.as_str())
            .traces_sample_rate(config.traces_sample_rate)
            .send_default_pii(false)
            .max_breadcrumbs(0)
            .before_breadcrumb(|_| None)
            .before_send(|event| Some(scrubbed(event)))
            .transport(Over(http));
        // In the process's hub, from which every thread's is derived when that is first asked for.
        let hub = Hub::main();
        hub.bind_client(Some(Arc::new(Client::with_options(options))));
        hub.configure_scope(|scope| scope.set_tag("program", program));
        ON.store(true, Ordering::Relaxed);
        Self(())
    }
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

/// Reports an alert. Its name alone makes the issue: however many rows it is about, people see one.
pub(super) fn raise(alert: &Alert, about: &str) {
    let level = match alert.severity {
        Severity::Critical => sentry::Level::Fatal,
        Severity::High => sentry::Level::Error,
        Severity::Medium => sentry::Level::Warning,
    };
    sentry::with_scope(
        |scope| {
            scope.set_tag("alert.name", alert.name);
            scope.set_tag("alert.severity", alert.severity.as_str());
            scope.set_fingerprint(Some(&[alert.name]));
        },
        || sentry::capture_message(&format!("{}: {about}", alert.meaning), level),
    );
}

/// As towards providers: one attempt, no redirect, no proxy from the environment, and an end.
fn http() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .timeout(SENDING)
        .build()
}

/// Sends over this client.
struct Over(reqwest::Client);

impl TransportFactory for Over {
    fn create_transport_with_options(&self, options: TransportOptions) -> Arc<dyn Transport> {
        let options = ReqwestHttpTransportOptions::from(options).with_client(self.0.clone());
        Arc::new(options.build())
    }
}
