//! The calls to providers, counted and timed.

use std::{sync::Arc, time::Duration};

use super::{Class, Field, Observer, Operation};
use crate::metrics::{Metrics, PROVIDER_REQUEST_DURATION, PROVIDER_REQUESTS, PROVIDER_UNKNOWN_VALUES};

/// What the clients tell, as metrics of this process.
pub struct ProviderMetrics(pub Arc<Metrics>);

impl Observer for ProviderMetrics {
    fn ended(&self, operation: Operation, outcome: &'static str, took: Duration) {
        let (provider, operation) = (operation.provider(), operation.as_str());
        self.0.count(&PROVIDER_REQUESTS, &[provider, operation, outcome]);
        // A call that never left says nothing about how long the provider takes.
        let stayed = [Class::NotSent, Class::CircuitOpen].map(Class::as_str);
        if !stayed.contains(&outcome) {
            self.0
                .observe(&PROVIDER_REQUEST_DURATION, &[provider, operation], took.as_secs_f64());
        }
    }

    fn unknown(&self, field: Field) {
        self.0
            .count(&PROVIDER_UNKNOWN_VALUES, &[field.provider(), field.as_str()]);
    }
}
