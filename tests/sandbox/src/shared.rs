//! What all providers of one sandbox have in common.

use std::sync::OnceLock;

use crate::{
    clock::Clock, confidential::Confidential, config::SandboxConfig, faults::Faults, journal::Journal, witness::Witness,
};

pub(crate) struct Shared {
    pub(crate) config: SandboxConfig,
    /// Where clients reach the sandbox, without a trailing slash.
    pub(crate) url: String,
    pub(crate) clock: Clock,
    pub(crate) journal: Journal,
    pub(crate) confidential: Confidential,
    pub(crate) faults: Faults,
    pub(crate) witness: OnceLock<Witness>,
}

impl Shared {
    pub(crate) fn bankid_issuer(&self) -> String {
        format!("{}/bankid", self.url)
    }
}
