//! What makes of the framework's documents those that are published: the public API's and the operators'.

mod tidy;
mod v31;

use serde_json::Value;

pub use tidy::tidy;
pub use v31::in_3_1;

const LICENSE: &str = "MIT OR Apache-2.0";

/// A document as it is committed: one member a line, so that a change can be read in a diff.
pub fn file_text(document: &Value) -> String {
    format!("{document:#}\n")
}
