//! The published documents and pages, made from the framework's document.

mod pages;
mod routes;
mod shape;

use poem_openapi::{OpenApi, OpenApiService, Webhook};
use serde_json::Value;

pub use pages::pages;
pub use routes::{PublishedRoute, PublishedRoutes};

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
        let v30 = shape::published(plain);
        Self {
            v31: shape::as_31(v30.clone()),
            v30,
        }
    }
}
