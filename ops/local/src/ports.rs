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
    /// The usual ports, or free ones where those are taken, which is said. They are held, so that nobody else takes
    /// one, a second launcher for instance, before the process it is for can be started.
    pub(crate) fn choose() -> anyhow::Result<(Self, Held)> {
        let wanted = [
            ("the API", 8080),
            ("the API's metrics", 9090),
            ("the worker's metrics", 9091),
            ("the sandbox", 9100),
        ];
        let held = wanted
            .iter()
            .map(|(whose, port)| take(whose, *port))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let port = |index: usize| -> anyhow::Result<u16> { Ok(held[index].local_addr()?.port()) };
        let ports = Self {
            api: port(0)?,
            api_internal: port(1)?,
            worker_internal: port(2)?,
            sandbox: port(3)?,
        };
        Ok((ports, Held(held)))
    }
}

/// Chosen ports on which nobody listens yet.
pub(crate) struct Held(Vec<TcpListener>);

impl Held {
    /// Lets go of these: just before the process starts that listens on them.
    pub(crate) fn release(&mut self, ports: &[u16]) {
        let wanted = |listener: &TcpListener| listener.local_addr().is_ok_and(|at| ports.contains(&at.port()));
        self.0.retain(|listener| !wanted(listener));
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
    fn a_port_is_held_until_it_is_released() {
        let (ports, mut held) = Ports::choose().unwrap();
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        held.release(&[ports.sandbox]);
        bind(ports.sandbox).unwrap();
        assert!(bind(ports.api).is_err() && bind(ports.api_internal).is_err() && bind(ports.worker_internal).is_err());
    }

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
