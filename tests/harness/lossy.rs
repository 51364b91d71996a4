//! A way to the database that can lose the answer to a commit, so that the client never learns that it worked, and that
//! can be closed, as if the database were away.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinHandle,
};

use crate::app::listener;

/// Forwards connections to a server, and cuts the next one that commits.
pub(crate) struct LossyWay {
    /// The database's address through here.
    pub(crate) url: String,
    armed: Arc<AtomicBool>,
    closed: watch::Sender<bool>,
    forwarding: JoinHandle<()>,
}

impl LossyWay {
    /// A way to the database of this address.
    pub(crate) async fn to(url: &str) -> Self {
        let own = listener().await;
        let here = own.local_addr().expect("a bound address");
        let mut through = reqwest::Url::parse(url).expect("a database's address");
        let there = (
            through.host_str().expect("a host").to_owned(),
            through.port().expect("a port"),
        );
        through.set_ip_host(here.ip()).expect("an address");
        through.set_port(Some(here.port())).expect("a port");
        let armed = Arc::new(AtomicBool::new(false));
        let (cut, (closed, is_closed)) = (Arc::clone(&armed), watch::channel(false));
        let forwarding = tokio::spawn(async move {
            while let Ok((client, _)) = own.accept().await {
                if *is_closed.borrow() {
                    continue; // dropping the connection closes it
                }
                if let Ok(server) = TcpStream::connect(there.clone()).await {
                    tokio::spawn(forward(client, server, Arc::clone(&cut), is_closed.clone()));
                }
            }
        });
        Self {
            url: through.into(),
            armed,
            closed,
            forwarding,
        }
    }

    /// Loses the answer to the next commit, once.
    pub(crate) fn lose_next_commit(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// Cuts what is open and refuses what comes, or lets it pass again.
    pub(crate) fn close(&self, closed: bool) {
        self.closed.send_replace(closed);
    }
}

impl Drop for LossyWay {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

async fn forward(client: TcpStream, server: TcpStream, armed: Arc<AtomicBool>, mut closed: watch::Receiver<bool>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let losing = Arc::new(AtomicBool::new(false));
    tokio::select! {
        () = requests(from_client, to_server, &armed, &losing) => {}
        () = answers(from_server, to_client, &losing) => {}
        _ = closed.wait_for(|closed| *closed) => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, armed: &AtomicBool, losing: &AtomicBool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let commits = buffer[..read].windows(6).any(|text| text == b"COMMIT");
        if commits && armed.swap(false, Ordering::SeqCst) {
            losing.store(true, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Ends when the server has answered the commit that is to be lost: by then it is done.
async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, losing: &AtomicBool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let lost = losing.load(Ordering::SeqCst);
        if lost || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
