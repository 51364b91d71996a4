//! Starting and ending, over real sockets.
#![expect(clippy::unwrap_used, reason = "a test's own helpers fail the test")]

use std::sync::Arc;
use std::time::Duration;

use drop_api::server::{Drain, serve};
use drop_common::metrics::{Metrics, Process};
use drop_common::probes::Readiness;
use poem::endpoint::make;
use poem::{Response, http::StatusCode};
use sqlx::postgres::PgPoolOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

async fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_request_under_way_is_answered_and_readiness_goes_first() {
    let (public, internal) = (
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let (port, probe) = (
        public.local_addr().unwrap().port(),
        internal.local_addr().unwrap().port(),
    );
    let pool = PgPoolOptions::new()
        .connect_lazy("postgres://nobody@127.0.0.1:1/none")
        .unwrap();
    let readiness = Readiness::new(pool, Arc::new(Metrics::new(Process::Api, "0.1.0", "unknown").unwrap()));
    readiness.started();

    let (arrived, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let app = make({
        let (arrived, go_on) = (Arc::clone(&arrived), Arc::clone(&go_on));
        move |_| {
            let (arrived, go_on) = (Arc::clone(&arrived), Arc::clone(&go_on));
            async move {
                arrived.notify_one();
                go_on.notified().await;
                Response::builder().status(StatusCode::OK).body("done")
            }
        }
    });
    let (stop, stopped) = oneshot::channel::<()>();
    let ending = CancellationToken::new();
    let drain = Drain {
        pause: Duration::from_millis(200),
        limit: Duration::from_secs(20),
    };
    let serving = tokio::spawn(serve(
        app,
        public,
        internal,
        readiness.clone(),
        drain,
        ending.clone(),
        async {
            let _ = stopped.await;
        },
    ));

    let slow = tokio::spawn(get_owned(port));
    arrived.notified().await;
    stop.send(()).unwrap();
    ending.cancelled().await;
    assert!(readiness.is_draining());
    let ready = get(probe, "/readyz").await.unwrap();
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    let alive = get(probe, "/livez").await.unwrap();
    assert!(alive.starts_with("HTTP/1.1 200"), "{alive}");

    go_on.notify_one();
    assert!(slow.await.unwrap().ends_with("done"));
    serving.await.unwrap().unwrap();
    assert!(get(port, "/").await.is_err(), "the listener is closed");
}

async fn get_owned(port: u16) -> String {
    get(port, "/").await.unwrap()
}
