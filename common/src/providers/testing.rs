//! A provider for one test: answers what it is told, records what it was asked.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
    time::timeout,
};

use super::{Field, Observer, Operation};

/// What the clients told.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) ended: Mutex<Vec<(Operation, &'static str)>>,
    pub(crate) unknown: Mutex<Vec<Field>>,
}

impl Observer for Heard {
    fn ended(&self, operation: Operation, outcome: &'static str, _: Duration) {
        self.ended.lock().expect("not poisoned").push((operation, outcome));
    }

    fn unknown(&self, field: Field) {
        self.unknown.lock().expect("not poisoned").push(field);
    }
}

/// What came in.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }
}

/// A listener on a free port that gives its prepared answers in order, each on its own connection.
pub(crate) struct FakeProvider {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl FakeProvider {
    /// Answers `answers` in order, then closes each further connection without a word.
    pub(crate) async fn start(answers: impl IntoIterator<Item = String>) -> Self {
        Self::start_with(|_| answers.into_iter().collect()).await
    }

    /// The same that takes its time before each answer.
    pub(crate) async fn start_slow(answers: impl IntoIterator<Item = String>, before: Duration) -> Self {
        Self::start_as(|_| answers.into_iter().collect(), before).await
    }

    /// The same with answers that say where they come from.
    pub(crate) async fn start_with(answers: impl FnOnce(&str) -> Vec<String>) -> Self {
        Self::start_as(answers, Duration::ZERO).await
    }

    async fn start_as(answers: impl FnOnce(&str) -> Vec<String>, before: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut answers = VecDeque::from(answers(&url));
        let record = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(request) = receive(&mut stream).await else {
                    continue;
                };
                record.lock().expect("not poisoned").push(request);
                let answer = answers.pop_front().unwrap_or_default();
                let _took_its_time = timeout(before, pending::<()>()).await;
                let _peer_may_be_gone = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, seen, task }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

impl Drop for FakeProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A complete JSON answer.
pub(crate) fn json(status: u16, body: &str) -> String {
    answer(status, "content-type: application/json\r\n", body)
}

/// A complete answer with extra header lines.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Test\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// One request; `None` once the peer is gone.
pub(crate) async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let seen = Seen {
            head: head.to_owned(),
            body: body.to_owned(),
        };
        let wanted = seen
            .header("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        if body.len() >= wanted {
            return Some(seen);
        }
    }
}
