//! A session's channel: what the person sits in front of.

use super::words::closed_words;

closed_words! {
    /// Where a login was started, and so how its session is carried.
    Channel, "session channel";
    /// A browser: cookies.
    Web = "web",
    /// The app: tokens in JSON.
    Mobile = "mobile",
}
