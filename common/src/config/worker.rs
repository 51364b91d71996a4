use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::{api, reader::Reader};
use crate::queue::Lane;

/// The job side.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// `DROP_PUBLIC_URL`. Required: the banks' redirect addresses are built from it.
    pub public_url: String,
    /// `DROP_WORKER_INTERNAL_LISTEN`, default `127.0.0.1:9091`: metrics and probes.
    pub internal_listen: SocketAddr,
    /// `DROP_WORKER_DRAIN_MS`, milliseconds, default 40000: a running bank call may need 30 s to end.
    pub drain: Duration,
    /// `DROP_LANES`, default `all`: the lanes this process serves, comma-separated, each with `=slots` where it runs
    /// another number of jobs at a time than usual: `login=128,kyc.apply`.
    pub lanes: BTreeMap<Lane, usize>,
}

impl WorkerConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            public_url: api::public_url(reader),
            internal_listen: api::listen(reader, "DROP_WORKER_INTERNAL_LISTEN", 9091),
            drain: reader.millis("DROP_WORKER_DRAIN_MS", 40_000, 0..=300_000),
            lanes: lanes(reader),
        }
    }
}

/// More slots than this are a typing error: each may hold a database connection for a moment.
const MOST_SLOTS: usize = 1_000;

fn lanes(reader: &mut Reader<'_>) -> BTreeMap<Lane, usize> {
    let asked = reader.list("DROP_LANES", "all");
    if asked.iter().any(|entry| entry == "all") {
        if asked.len() > 1 {
            reader.problem("DROP_LANES", "names lanes beside all");
        }
        return Lane::ALL.map(|lane| (lane, lane.default_slots())).into();
    }
    let mut lanes = BTreeMap::new();
    for entry in asked {
        let (name, slots) = entry
            .split_once('=')
            .map_or((&*entry, None), |(name, slots)| (name, Some(slots)));
        let slots = |lane: Lane| slots.map_or(Some(lane.default_slots()), |slots| slots.parse().ok());
        match Lane::from_name(name).and_then(|lane| Some((lane, slots(lane)?))) {
            Some((lane, slots)) if (1..=MOST_SLOTS).contains(&slots) => {
                if lanes.insert(lane, slots).is_some() {
                    reader.problem("DROP_LANES", "names a lane twice");
                }
            }
            _ => reader.problem("DROP_LANES", "must be lane or lane=slots, comma-separated"),
        }
    }
    if lanes.is_empty() {
        reader.problem("DROP_LANES", "names no lane");
    }
    lanes
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::config::Environment;

    fn read(lanes: &str) -> Result<BTreeMap<Lane, usize>, String> {
        let environment = Environment::default()
            .with("DROP_LANES", lanes)
            .with("DROP_PROFILE", "local");
        let mut reader = Reader::new(&environment);
        let lanes = super::lanes(&mut reader);
        reader.finish(lanes).map_err(|error| error.to_string())
    }

    #[test]
    fn a_worker_serves_every_lane_or_those_it_is_given() {
        assert_eq!(read("all").unwrap().len(), Lane::ALL.len());
        let given = read("login=128, kyc.apply").unwrap();
        assert_eq!(given, BTreeMap::from([(Lane::Login, 128), (Lane::KycApply, 16)]));
    }

    #[rstest]
    #[case::unknown("login,mail")]
    #[case::no_slots("login=0")]
    #[case::too_many("login=1001")]
    #[case::no_number("login=many")]
    #[case::twice("login,login=3")]
    #[case::all_and_more("all,login")]
    #[case::none(",")]
    fn any_other_list_is_refused(#[case] lanes: &str) {
        assert!(read(lanes).unwrap_err().contains("DROP_LANES"));
    }
}
