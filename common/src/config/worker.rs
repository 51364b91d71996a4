use std::{net::SocketAddr, time::Duration};

use super::{api, reader::Reader};

/// The job side.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// `DROP_PUBLIC_URL`. Required: the banks' redirect addresses are built from it.
    pub public_url: String,
    /// `DROP_WORKER_INTERNAL_LISTEN`, default `127.0.0.1:9091`: metrics and probes.
    pub internal_listen: SocketAddr,
    /// `DROP_WORKER_DRAIN_MS`, milliseconds, default 40000: a running bank call may need 30 s to end.
    pub drain: Duration,
}

impl WorkerConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            public_url: api::public_url(reader),
            internal_listen: api::listen(reader, "DROP_WORKER_INTERNAL_LISTEN", 9091),
            drain: reader.millis("DROP_WORKER_DRAIN_MS", 40_000, 0..=300_000),
        }
    }
}
