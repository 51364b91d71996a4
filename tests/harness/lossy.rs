//! A way to the database that can lose the answer to a commit, so that the client never learns that it worked; that can
//! be closed, as if the database were away; and that can fall silent, as when its host vanishes.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinHandle,
};

use crate::app::listener;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Connections are closed at once.
    Closed,
    /// Connections stay, and nothing goes through them any more.
    Silent,
}

/// An answer that holds these bytes is lost, once.
type Unwanted = Arc<Mutex<Option<&'static [u8]>>>;
/// What the answer is to that is lost, once.
type Armed = Arc<Mutex<Option<Loss>>>;

#[derive(Debug, Clone, Copy)]
enum Loss {
    /// To the commit of a connection that has sent this statement, or with the empty text of any.
    Commit { after: &'static str },
    /// To this statement itself, which is its own transaction.
    Statement(&'static str),
}

/// Forwards connections to a server, and cuts the one whose answer is to be lost.
pub struct LossyWay {
    /// The database's address through here.
    pub url: String,
    /// Where it is.
    here: SocketAddr,
    armed: Armed,
    unwanted: Unwanted,
    state: watch::Sender<State>,
    forwarding: JoinHandle<()>,
}

impl LossyWay {
    /// A way to the database of this address.
    ///
    /// # Panics
    /// When the address is none.
    pub async fn to(url: &str) -> Self {
        let own = listener().await;
        let here = own.local_addr().expect("a bound address");
        let server = reqwest::Url::parse(url).expect("a database's address");
        let there = (
            server.host_str().expect("a host").to_owned(),
            server.port().expect("a port"),
        );
        let armed = Armed::default();
        let unwanted = Unwanted::default();
        let lost = Arc::clone(&unwanted);
        let (cut, (state, current)) = (Arc::clone(&armed), watch::channel(State::Open));
        let forwarding = tokio::spawn(async move {
            let mut unheard = Vec::new();
            while let Ok((client, _)) = own.accept().await {
                let state = *current.borrow();
                match state {
                    State::Closed => {} // dropping the connection closes it
                    State::Silent => unheard.push(client),
                    State::Open => {
                        if let Ok(server) = TcpStream::connect(there.clone()).await {
                            let losses = (Arc::clone(&cut), Arc::clone(&lost));
                            tokio::spawn(forward(client, server, losses, current.clone()));
                        }
                    }
                }
            }
        });
        Self {
            url: through(here, url),
            here,
            armed,
            unwanted,
            state,
            forwarding,
        }
    }

    /// Another address of the same server, through here.
    pub(crate) fn through(&self, url: &str) -> String {
        through(self.here, url)
    }

    /// Loses the answer to the next commit, once: to one after a statement that begins so, which a connection sends as
    /// text the first time, or with the empty text to any.
    pub(crate) fn lose_commit_after(&self, statement: &'static str) {
        self.arm(Loss::Commit { after: statement });
    }

    /// Loses the answer to the next statement that holds this text, once: where it is sent as text, which a connection does the
    /// first time.
    pub(crate) fn lose_answer_to(&self, statement: &'static str) {
        self.arm(Loss::Statement(statement));
    }

    fn arm(&self, loss: Loss) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = Some(loss);
    }

    /// Whether the answer that was to be lost is lost.
    pub(crate) fn has_lost_it(&self) -> bool {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Loses the next answer that holds these bytes, once: a statement that is its own transaction says no word of a commit,
    /// and it is done when the server answers.
    pub(crate) fn lose_next_answer(&self, holding: &'static [u8]) {
        *self.unwanted.lock().unwrap_or_else(PoisonError::into_inner) = Some(holding);
    }

    /// Cuts what is open and refuses what comes, or lets it pass again.
    pub(crate) fn close(&self, closed: bool) {
        self.state
            .send_replace(if closed { State::Closed } else { State::Open });
    }

    /// Says nothing more on the connections that are open, for good, and nothing on those that come until it is to end.
    pub fn fall_silent(&self, silent: bool) {
        self.state
            .send_replace(if silent { State::Silent } else { State::Open });
    }
}

impl Drop for LossyWay {
    fn drop(&mut self) {
        self.forwarding.abort();
    }
}

fn through(here: SocketAddr, url: &str) -> String {
    let mut through = reqwest::Url::parse(url).expect("a database's address");
    through.set_ip_host(here.ip()).expect("an address");
    through.set_port(Some(here.port())).expect("a port");
    through.into()
}

async fn forward(
    client: TcpStream,
    server: TcpStream,
    (armed, unwanted): (Armed, Unwanted),
    state: watch::Receiver<State>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let losing = Arc::new(AtomicBool::new(false));
    let became = tokio::select! {
        () = requests(&mut from_client, &mut to_server, &armed, &losing) => State::Closed,
        () = answers(&mut from_server, &mut to_client, &losing, &unwanted) => State::Closed,
        became = no_longer_open(state) => became,
    };
    if became == State::Silent {
        pending::<()>().await;
    }
}

async fn no_longer_open(mut state: watch::Receiver<State>) -> State {
    let became = state.wait_for(|state| *state != State::Open).await;
    became.map_or(State::Closed, |state| *state)
}

async fn requests(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, armed: &Armed, losing: &AtomicBool) {
    let (mut buffer, mut is_it) = (vec![0; 64 * 1024], false);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let says = |text: &str| text.is_empty() || buffer[..read].windows(text.len()).any(|at| at == text.as_bytes());
        {
            let mut armed = armed.lock().unwrap_or_else(PoisonError::into_inner);
            let is_done = match *armed {
                // Its text is answered first, and then it is executed.
                Some(Loss::Statement(_)) if is_it => true,
                Some(Loss::Statement(text)) => {
                    is_it = says(text);
                    false
                }
                Some(Loss::Commit { after }) => {
                    is_it |= says(after);
                    is_it && says("COMMIT")
                }
                None => false,
            };
            if is_done {
                *armed = None;
                losing.store(true, Ordering::SeqCst);
            }
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Ends when the server has answered the commit that is to be lost: by then it is done.
async fn answers(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, losing: &AtomicBool, unwanted: &Unwanted) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let lost = losing.load(Ordering::SeqCst) || is_unwanted(&buffer[..read], unwanted);
        if lost || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

fn is_unwanted(answer: &[u8], unwanted: &Unwanted) -> bool {
    let mut unwanted = unwanted.lock().unwrap_or_else(PoisonError::into_inner);
    let found = unwanted.is_some_and(|bytes| answer.windows(bytes.len()).any(|part| part == bytes));
    if found {
        *unwanted = None;
    }
    found
}
