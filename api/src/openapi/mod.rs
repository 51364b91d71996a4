//! The published documents and pages, made from the framework's document.

mod described;
mod errors;
mod events;
mod links;
mod pages;
mod routes;
mod shape;
mod texts;
mod v31;

use poem_openapi::{OpenApi, OpenApiService, Webhook};
use serde_json::Value;

use crate::{app, operations::Operations};

pub use pages::pages;
pub use routes::{PublishedRoute, PublishedRoutes};

/// Where the API is reached, for the files that are published; a process publishes its own address itself.
const SERVERS: [(&str, &str); 3] = [
    ("https://getdrop.no", "Production"),
    ("https://staging.getdrop.no", "Staging"),
    ("http://127.0.0.1:8080", "Local: `cargo run`"),
];

/// What `drop-api openapi` writes; needs neither configuration nor database.
pub fn published() -> Documents {
    let servers = SERVERS.map(|(url, description)| (url.to_owned(), description.to_owned()));
    Documents::of(&app::service(described::Described::<Operations>::new(), &servers))
}

/// The same description in both versions that tools ask for.
#[derive(Debug, Clone)]
pub struct Documents {
    /// OpenAPI 3.1.0.
    pub v31: Value,
    /// OpenAPI 3.0.3, for generators that stop there.
    pub v30: Value,
}

impl Documents {
    /// The documents of a service.
    pub fn of<T: OpenApi, W: Webhook>(service: &OpenApiService<T, W>) -> Self {
        let plain: Value = serde_json::from_str(&service.spec()).expect("the framework writes JSON");
        let mut v30 = shape::published(plain);
        let mut v31 = v31::of(v30.clone());
        events::write_out(&mut v31, true);
        events::write_out(&mut v30, false);
        Self { v31, v30 }
    }
}

/// A document as it is committed: one member a line, so that a change can be read in a diff.
pub fn file_text(document: &Value) -> String {
    format!("{document:#}\n")
}
