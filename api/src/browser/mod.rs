//! What a person in front of a browser is shown on the addresses that they come to themselves: there, JSON helps nobody.

mod negotiate;
mod page;
mod words;

use std::fmt::Display;

pub use negotiate::{Language, prefers_page};
pub(crate) use page::{error_page, waiting_page};

/// A page of the web application that is about the thing with this id.
pub(crate) fn page_about(page: &str, name: &str, id: impl Display) -> String {
    let joined = if page.contains('?') { '&' } else { '?' };
    format!("{page}{joined}{name}={id}")
}
