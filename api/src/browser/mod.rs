//! What a person in front of a browser is shown on the addresses that they come to themselves: there, JSON helps nobody.

mod negotiate;
mod page;
mod words;

pub use negotiate::{Language, prefers_page};
pub(crate) use page::{error_page, waiting_page};
