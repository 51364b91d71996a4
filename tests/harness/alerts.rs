//! What this process has alerted about. One process runs many tests at once, so each asks for its own rows' alerts.

use std::{
    fmt::{self, Write as _},
    sync::{Mutex, PoisonError},
};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use crate::said;

static HEARD: Mutex<Vec<Heard>> = Mutex::new(Vec::new());

#[derive(Default)]
struct Heard {
    alert: String,
    message: String,
}

/// Listens from here on.
pub fn listen() {
    said::listen();
}

/// The names of the alerts that were raised about the row with this id.
pub fn about(id: &str) -> Vec<String> {
    let heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    let about = heard.iter().filter(|heard| heard.message.contains(id));
    about.map(|heard| heard.alert.clone()).collect()
}

/// What the alerts about the payment with this id say of it: what stands behind the id.
pub fn words(id: &str) -> Vec<String> {
    let heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    let behind = format!("{id}, ");
    let said = heard.iter().filter_map(|heard| heard.message.split_once(&behind));
    said.map(|(_, word)| word.to_owned()).collect()
}

/// Hears alerts.
pub(crate) struct Ear;

impl<S: Subscriber> Layer<S> for Ear {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "alert" {
            let mut heard = Heard::default();
            event.record(&mut heard);
            HEARD.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
        }
    }
}

impl Visit for Heard {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "alert" {
            value.clone_into(&mut self.alert);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            write!(self.message, "{value:?}").expect("writing to a String cannot fail");
        }
    }
}
