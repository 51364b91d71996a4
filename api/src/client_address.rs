//! The caller's address behind proxies, for the rate limits, the audit and the bank.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use drop_common::config::Network;
use poem::http::HeaderMap;
use poem::{Addr, Request};

/// Cloudflare's header for the client that it serves; it overwrites whatever the client sent under that name.
const EDGE_HEADER: &str = "cf-connecting-ip";

/// The proxies whose `X-Forwarded-For` is believed: the edge and what stands behind it.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    ours: Vec<Network>,
    edge: Vec<Network>,
}

impl TrustedProxies {
    /// Believes proxies in these networks and no other peer, and the edge's own header where the edge is in the second.
    pub fn new(ours: Vec<Network>, edge: Vec<Network>) -> Self {
        Self { ours, edge }
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
    ///
    /// The edge runs its customers' programs too, and they ask from addresses of its own: an edge that met an edge has met
    /// such a client. Stepping over it would believe what the program wrote.
    ///
    /// Where the edge is the last of ours, its own header decides. Anybody else can write that header too, so it is not
    /// looked at when the client came to a proxy of ours past the edge.
    pub fn client_behind(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let mut last_of_ours = None;
        let lines: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .map(|line| line.to_str().unwrap_or_default())
            .collect();
        let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
        while self.hands_on(client, last_of_ours) {
            last_of_ours = Some(client);
            let Some(address) = hops.next().and_then(|hop| parse_hop(hop.trim())) else {
                break;
            };
            client = address;
        }
        last_of_ours
            .filter(|proxy| contains(&self.edge, *proxy))
            .and_then(|_| self.told_by_the_edge(headers))
            .unwrap_or(client)
    }

    /// Whether the hop, which `met_by` saw, passes on what others asked.
    fn hands_on(&self, hop: IpAddr, met_by: Option<IpAddr>) -> bool {
        let is_edge = |address| contains(&self.edge, address);
        contains(&self.ours, hop) || is_edge(hop) && !met_by.is_some_and(is_edge)
    }

    /// A web backend that reaches us through the edge is the edge's client then, and not ours.
    fn told_by_the_edge(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut values = headers.get_all(EDGE_HEADER).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return None;
        };
        let address: IpAddr = value.to_str().ok()?.trim().parse().ok()?;
        Some(address.to_canonical()).filter(|address| !contains(&self.ours, *address))
    }
}

fn contains(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
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

    // 10.0.0.0/8 and 2001:db8:ffff::/48 are ours, 198.51.100.0/24 is the edge.
    fn client_with(peer: &str, lines: &[&str], edge_says: &[&str]) -> String {
        let ours = ["10.0.0.0/8", "2001:db8:ffff::/48"].map(|text| text.parse().unwrap());
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x-forwarded-for", HeaderValue::from_str(line).unwrap());
        }
        for line in edge_says {
            headers.append("CF-Connecting-IP", HeaderValue::from_str(line).unwrap());
        }
        TrustedProxies::new(ours.to_vec(), vec!["198.51.100.0/24".parse().unwrap()])
            .client_behind(peer.parse().unwrap(), &headers)
            .to_string()
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        client_with(peer, lines, &[])
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
        assert_eq!(client("10.0.0.1", &["203.0.113.66, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(
            client("10.0.0.1", &["203.0.113.66", "192.0.2.7, 10.0.0.2"]),
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

    #[test]
    fn the_edges_header_decides_where_the_edge_is_the_last_of_ours() {
        for (peer, lines) in [
            ("198.51.100.7", &[][..]),
            ("198.51.100.7", &["203.0.113.9"][..]),
            ("198.51.100.7", &["unknown"][..]),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7"][..]),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.0.0.2"][..]),
        ] {
            assert_eq!(
                client_with(peer, lines, &["192.0.2.7"]),
                "192.0.2.7",
                "{peer} {lines:?}"
            );
        }
        assert_eq!(client_with("198.51.100.7", &[], &["::ffff:192.0.2.7"]), "192.0.2.7");
    }

    #[test]
    fn the_edges_header_is_nobodys_where_another_hop_met_the_client() {
        for (peer, lines, met) in [
            // The client itself, and the client at a proxy of ours with an edge address of its own making.
            ("203.0.113.9", &[][..], "203.0.113.9"),
            ("203.0.113.9", &["198.51.100.7"][..], "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9"][..], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.7, 203.0.113.9"][..], "203.0.113.9"),
            ("10.0.0.1", &["198.51.100.7, unknown"][..], "10.0.0.1"),
        ] {
            assert_eq!(client_with(peer, lines, &["192.0.2.7"]), met, "{peer} {lines:?}");
        }
    }

    #[test]
    fn an_edges_header_that_is_no_single_address_leaves_what_was_forwarded() {
        for said in [
            &["192.0.2.7", "192.0.2.8"][..],
            &["192.0.2.7, 192.0.2.8"][..],
            &["192.0.2.7:80"][..],
            &["unknown"][..],
            &[""][..],
        ] {
            assert_eq!(
                client_with("198.51.100.7", &["203.0.113.9"], said),
                "203.0.113.9",
                "{said:?}"
            );
        }
    }

    #[test]
    fn a_web_backend_that_comes_through_the_edge_is_not_the_client() {
        let through_both = ["203.0.113.9, 198.51.100.7, 10.0.0.5"];
        assert_eq!(client_with("198.51.100.8", &through_both, &["10.0.0.5"]), "203.0.113.9");
    }

    #[test]
    fn a_program_that_runs_at_the_edge_is_a_client_whatever_it_writes() {
        for (peer, lines) in [
            ("198.51.100.7", &["203.0.113.66, 198.51.100.9"][..]),
            ("10.0.0.1", &["203.0.113.66, 198.51.100.9, 198.51.100.7"][..]),
            (
                "198.51.100.8",
                &["203.0.113.66, 198.51.100.9, 198.51.100.7, 10.0.0.5"][..],
            ),
        ] {
            for edge_says in [&["198.51.100.9"][..], &["10.0.0.5"][..], &[][..]] {
                assert_eq!(
                    client_with(peer, lines, edge_says),
                    "198.51.100.9",
                    "{peer} {lines:?} {edge_says:?}"
                );
            }
        }
        assert_eq!(client_with("198.51.100.7", &[], &["198.51.100.9"]), "198.51.100.9");
    }

    #[test]
    fn every_address_of_a_64_is_in_one_bucket_and_its_neighbours_are_not() {
        let buckets: std::collections::BTreeSet<String> = (0..=u16::MAX)
            .map(|last| bucket(Ipv6Addr::new(0x2001, 0xdb8, 1, 2, last, !last, 0, last).into()))
            .collect();
        assert!(buckets.iter().eq(["2001:db8:1:2::/64"]));
        assert_eq!(bucket("2001:db8:1:3::".parse().unwrap()), "2001:db8:1:3::/64");
    }
}
