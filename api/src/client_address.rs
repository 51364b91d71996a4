//! The caller's address behind proxies, for the rate limits, the audit and the bank.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use drop_common::config::Network;
use poem::http::HeaderMap;
use poem::{Addr, Request};

/// The proxies whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<Network>);

impl TrustedProxies {
    /// Believes proxies in these networks and no other peer.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// The caller's address; `None` when the connection is not over IP.
    pub fn client_of(&self, request: &Request) -> Option<IpAddr> {
        match request.remote_addr().0 {
            Addr::SocketAddr(peer) => Some(self.client_behind(peer.ip(), request.headers())),
            _ => None,
        }
    }

    /// Walks `X-Forwarded-For` from the right for as long as the hop is one of ours. The first that is not, is the
    /// client; whatever stands further left was written by it and proves nothing. Unreadable text ends the walk.
    pub fn client_behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lines: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .map(|line| line.to_str().unwrap_or_default())
            .collect();
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            if !self.trusts(client) {
                break;
            }
            let Some(address) = parse_hop(hop.trim()) else { break };
            client = address;
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// What a limit per address counts by: an IPv4 address, or the /64 an IPv6 address is in, because one line has them all.
pub fn bucket(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

/// Some proxies write the port too.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let address = text
        .parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    fn client(peer: &str, lines: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "2001:db8:ffff::/48"].map(|text| text.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_str(line).unwrap());
        }
        TrustedProxies::new(networks.to_vec())
            .client_behind(peer.parse().unwrap(), &headers)
            .to_string()
    }

    #[test]
    fn a_forged_header_of_an_untrusted_peer_changes_nothing() {
        for forged in 0..100 {
            assert_eq!(
                client("192.0.2.7", &[&format!("203.0.113.{forged}, 10.0.0.1")]),
                "192.0.2.7"
            );
        }
    }

    #[test]
    fn what_the_client_wrote_itself_is_left_of_what_the_proxy_saw() {
        assert_eq!(client("10.0.0.1", &["198.51.100.66, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(
            client("10.0.0.1", &["198.51.100.66", "192.0.2.7, 10.0.0.2"]),
            "192.0.2.7"
        );
        assert_eq!(client("10.0.0.1", &["10.9.9.9, 192.0.2.7:4711, 10.0.0.2"]), "192.0.2.7");
    }

    #[test]
    fn unreadable_hops_end_the_walk() {
        assert_eq!(client("10.0.0.1", &["192.0.2.7, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.7, , 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn ipv6_counts_by_64_bits_and_mapped_addresses_are_ipv4() {
        assert_eq!(client("::ffff:10.0.0.1", &["::ffff:192.0.2.7"]), "192.0.2.7");
        assert_eq!(
            client("2001:db8:ffff::1", &["2001:db8:1:2:3:4:5:6"]),
            "2001:db8:1:2:3:4:5:6"
        );
        assert_eq!(bucket("2001:db8:1:2:3:4:5:6".parse().unwrap()), "2001:db8:1:2::/64");
        assert_eq!(bucket("2001:db8:1:2::9".parse().unwrap()), "2001:db8:1:2::/64");
        assert_eq!(bucket("192.0.2.7".parse().unwrap()), "192.0.2.7");
    }
}
