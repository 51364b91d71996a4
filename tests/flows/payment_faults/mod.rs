//! Payments while processes die, the bank loses answers and the database goes away: never lost, never made twice, always
//! told truthfully. After every run the books are checked (`drop_tests::ledger`).
//!
//! A run has a payment of its own in a service that many runs share. A worker or an API is a process that ends itself at a
//! named point (`drop_common::failpoint`), or is killed from outside at a moment that only the other side can see; what
//! follows is done by the service itself, with the time of the queue moved on.

mod asking;
mod authorising;
mod books;
mod cancelling;
mod database;
mod mishaps;
mod polling;
mod random;
pub(crate) mod scene;
mod sending;
mod stopping;

use std::{fs, path::Path};

/// The names of the points in the files below this folder, of a payment's way.
fn points_in(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            points_in(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let points = source
                .split("failpoint!(\"")
                .skip(1)
                .filter_map(|rest| rest.split('"').next());
            let of_payments = |point: &&str| {
                ["pay.", "cancel.", "authorise."]
                    .iter()
                    .any(|way| point.starts_with(way))
            };
            found.extend(points.filter(of_payments).map(str::to_owned));
        }
    }
}

#[test]
fn something_dies_at_each_named_point_of_a_payments_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut points = Vec::new();
    for part in ["api/src", "worker/src"] {
        points_in(&root.join(part), &mut points);
    }
    assert!(points.len() > 25, "{points:?}");
    let runs = [
        include_str!("asking.rs"),
        include_str!("authorising.rs"),
        include_str!("cancelling.rs"),
        include_str!("polling.rs"),
        include_str!("sending.rs"),
    ]
    .concat();
    let without = points.iter().filter(|point| !runs.contains(&format!("\"{point}\"")));
    assert_eq!(without.collect::<Vec<_>>(), Vec::<&String>::new());
}
