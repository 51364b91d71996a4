//! The service as processes of its own, several of each, behind one address.

use std::{
    os::fd::OwnedFd,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{
    app::listener,
    ground::Addresses,
    processes::{Node, TELLS},
};

/// So many processes of each kind.
#[derive(Debug, Clone, Copy)]
pub struct Fleet {
    /// The program `drop-node`, which a test names by `env!("CARGO_BIN_EXE_drop-node")`.
    pub program: &'static str,
    /// API processes.
    pub apis: usize,
    /// Worker processes.
    pub workers: usize,
}

/// The running processes; they end with this.
pub(crate) struct Running {
    apis: Vec<Node>,
    workers: Vec<Node>,
    balancer: JoinHandle<()>,
}

impl Fleet {
    /// Starts them all. Connections to `public` go to the API processes in turn.
    pub(crate) async fn start(
        self,
        public: TcpListener,
        variables: &[(&'static str, String)],
        addresses: &Addresses,
    ) -> Running {
        let mut apis = Vec::new();
        let mut upstreams = Vec::new();
        for _ in 0..self.apis {
            let own = listener().await;
            upstreams.push(own.local_addr().expect("a bound address"));
            apis.push(api(self.program, variables, addresses, own));
        }
        let workers = (0..self.workers).map(|_| worker(self.program, variables, addresses));
        let workers = workers.collect();
        let balancer = tokio::spawn(async move {
            let turn = AtomicUsize::new(0);
            while let Ok((mut client, _)) = public.accept().await {
                let upstream = upstreams[turn.fetch_add(1, Ordering::Relaxed) % upstreams.len()];
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(upstream).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Running {
            apis,
            workers,
            balancer,
        }
    }
}

/// One API process. It is given the listener itself: a port that is only looked up may be somebody else's by then.
pub(crate) fn api(
    program: &str,
    variables: &[(&'static str, String)],
    addresses: &Addresses,
    own: TcpListener,
) -> Node {
    let own = own.into_std().expect("a listener");
    node(program, "api", variables, &addresses.api, OwnedFd::from(own).into())
}

/// One worker process.
pub(crate) fn worker(program: &str, variables: &[(&'static str, String)], addresses: &Addresses) -> Node {
    node(program, "worker", variables, &addresses.worker, Stdio::null())
}

/// One process of the service, whose internal listener is on any free port. Its variables may say otherwise.
fn node(program: &str, part: &str, variables: &[(&'static str, String)], database: &str, input: Stdio) -> Node {
    let tells = std::env::temp_dir().join(format!("drop-node-{}", uuid::Uuid::new_v4().simple()));
    let tells = tells.display().to_string();
    let mut all = vec![
        (TELLS, tells.as_str()),
        ("DATABASE_URL", database),
        ("DROP_API_INTERNAL_LISTEN", "127.0.0.1:0"),
        ("DROP_WORKER_INTERNAL_LISTEN", "127.0.0.1:0"),
    ];
    all.extend(variables.iter().map(|(name, value)| (*name, value.as_str())));
    Node::start_with(program, part, &all, input)
}

impl Running {
    /// Processes that somebody else starts and ends.
    pub(crate) fn elsewhere(balancer: JoinHandle<()>) -> Self {
        Self {
            apis: Vec::new(),
            workers: Vec::new(),
            balancer,
        }
    }

    /// The workers.
    pub(crate) fn workers(&mut self) -> &mut [Node] {
        &mut self.workers
    }

    /// All of them, APIs first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Node> {
        self.apis.iter().chain(&self.workers)
    }

    /// Where the internal listeners are, as far as they have been told.
    pub(crate) fn internal_listeners(&self) -> Vec<String> {
        self.all().filter_map(Node::internal).collect()
    }

    /// Fails if one has ended.
    pub(crate) fn all_run(&mut self) {
        for node in self.apis.iter_mut().chain(&mut self.workers) {
            assert!(node.is_running(), "a process has ended");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.balancer.abort();
    }
}
