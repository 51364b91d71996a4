//! What clients and providers told each other in confidence: a test looks for it in places where it must not be.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use serde_json::Value;

use crate::{
    call::{Call, Reply},
    locked,
};

/// Form fields and query parameters that are for the two sides alone.
const ASKED: [&str; 6] = [
    "state",
    "nonce",
    "code",
    "code_verifier",
    "client_secret",
    "refresh_token",
];

/// Members of answers that are.
const ANSWERED: [&str; 4] = ["id_token", "access_token", "refresh_token", "token"];

/// Every confidential value since the start or the last reset, by its name. The journal leaves them out.
#[derive(Debug, Default)]
pub(crate) struct Confidential(Mutex<BTreeMap<String, BTreeSet<String>>>);

impl Confidential {
    /// Adds those of one request and its answer.
    pub(crate) fn record(&self, call: &Call, reply: &Reply) {
        let asked = call.query_pairs().into_iter().chain(call.form().into_iter().flatten());
        for (name, value) in asked.filter(|(name, _)| ASKED.contains(&name.as_str())) {
            self.add(&name, &value);
        }
        if let Some((scheme, value)) = call.header("authorization").and_then(|text| text.split_once(' ')) {
            self.add(&scheme.to_lowercase(), value);
        }
        let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        for name in ANSWERED {
            if let Some(value) = answer[name].as_str() {
                self.add(name, value);
            }
        }
    }

    /// The values by their names.
    pub(crate) fn values(&self) -> BTreeMap<String, BTreeSet<String>> {
        locked(&self.0).clone()
    }

    pub(crate) fn clear(&self) {
        locked(&self.0).clear();
    }

    fn add(&self, name: &str, value: &str) {
        locked(&self.0)
            .entry(name.to_owned())
            .or_default()
            .insert(value.to_owned());
    }
}
