//! Where the processes listen: always on loopback, on the usual port when it is free.
use std::net::{Ipv4Addr, TcpListener};

use anyhow::Context;

use crate::console;

/// The ports of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) api: u16,
    pub(crate) api_internal: u16,
    pub(crate) worker_internal: u16,
    pub(crate) sandbox: u16,
}

impl Ports {
    /// The usual ports, or free ones where those are taken, which is said.
    pub(crate) fn choose() -> anyhow::Result<Self> {
        let wanted = [
            ("the API", 8080),
            ("the API's metrics", 9090),
            ("the worker's metrics", 9091),
            ("the sandbox", 9100),
        ];
        // Held until all four are chosen, so that none is chosen twice.
        let held = wanted
            .iter()
            .map(|(whose, port)| take(whose, *port))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let port = |index: usize| -> anyhow::Result<u16> { Ok(held[index].local_addr()?.port()) };
        Ok(Self {
            api: port(0)?,
            api_internal: port(1)?,
            worker_internal: port(2)?,
            sandbox: port(3)?,
        })
    }
}

fn take(whose: &str, usual: u16) -> anyhow::Result<TcpListener> {
    if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, usual)) {
        return Ok(listener);
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("there is no free port on 127.0.0.1")?;
    console::say(&format!(
        "port {usual} is taken: {whose} on port {} instead",
        listener.local_addr()?.port()
    ));
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_replaced_by_a_free_one() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let holder = take("the first", taken).unwrap();
        let other = take("the second", taken).unwrap();
        assert_eq!(holder.local_addr().unwrap().port(), taken);
        assert_ne!(other.local_addr().unwrap().port(), taken);
    }
}
