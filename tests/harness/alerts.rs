//! What this process has alerted about. One process runs many tests at once, so each asks for its own rows' alerts.

use std::{
    fmt::{self, Write as _},
    sync::{Mutex, Once, PoisonError},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber,
};

static LISTENING: Once = Once::new();
static HEARD: Mutex<Vec<Heard>> = Mutex::new(Vec::new());

#[derive(Default)]
struct Heard {
    alert: String,
    message: String,
}

/// Listens from here on.
///
/// # Panics
/// When something else listens to this process already.
pub fn listen() {
    LISTENING.call_once(|| subscriber::set_global_default(Ear).expect("nobody else listens"));
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

struct Ear;

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == "alert"
    }

    fn event(&self, event: &Event<'_>) {
        let mut heard = Heard::default();
        event.record(&mut heard);
        HEARD.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1) // spans are not enabled
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
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
