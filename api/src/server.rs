//! Runs both listeners until the process is told to end, and ends without cutting a request off.

use std::io;
use std::time::Duration;

use drop_common::probes::{self, Readiness};
use poem::listener::TcpAcceptor;
use poem::{Endpoint, IntoEndpoint, Server};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How the process ends.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// Between `/readyz` turning 503 and the listener closing, so that balancers notice.
    pub pause: Duration,
    /// For requests that are under way.
    pub limit: Duration,
}

impl Drain {
    /// Pauses so long, then gives the requests that are under way twenty seconds.
    pub fn after(pause: Duration) -> Self {
        Self {
            pause,
            limit: Duration::from_secs(20),
        }
    }
}

/// Serves `app` at `public` and the probes at `internal` until `stop` is over, then drains.
///
/// `ending` is cancelled when the public listener closes: event streams must end on it, or they hold the drain to its
/// limit. The probes answer until the last request is done.
pub async fn serve<A>(
    app: A,
    public: TcpListener,
    internal: TcpListener,
    readiness: Readiness,
    drain: Drain,
    ending: CancellationToken,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()>
where
    A: IntoEndpoint<Endpoint: Endpoint + 'static> + Send,
{
    let served = CancellationToken::new();
    let probing = Server::new_with_acceptor(TcpAcceptor::from_tokio(internal)?)
        .name("internal")
        .run_with_graceful_shutdown(
            probes::routes(&readiness),
            served.clone().cancelled_owned(),
            Some(PROBE_LIMIT),
        );
    let serving = async {
        let result = Server::new_with_acceptor(TcpAcceptor::from_tokio(public)?)
            .name("public")
            .idle_timeout(IDLE)
            .run_with_graceful_shutdown(app, ending.clone().cancelled_owned(), Some(drain.limit))
            .await;
        served.cancel();
        result
    };
    let ending_in_order = async {
        stop.await;
        readiness.drain();
        tracing::info!("draining: no new work should come here");
        #[expect(
            clippy::disallowed_methods,
            reason = "balancers need this long to notice, whatever our clock says"
        )]
        tokio::time::sleep(drain.pause).await;
        ending.cancel();
        Ok(())
    };
    tokio::try_join!(serving, probing, ending_in_order).map(drop)
}

/// A connection on which nothing moves for so long is closed, also one whose headers never end; a request that is being
/// answered is finished first. An event stream has to say something more often than this.
const IDLE: Duration = Duration::from_mins(1);

/// For a probe that is being answered when everything else is done.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// Is over when the process gets SIGTERM, or SIGINT from a terminal.
pub async fn told_to_end() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
