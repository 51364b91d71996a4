//! Answers of Sumsub's that are not what was asked for.

use chrono::{DateTime, Utc};
use reqwest::header;
use tracing::warn;

use super::wire;
use crate::providers::{ProviderError, http::Reply};

/// The time in a signature may be so many seconds away from Sumsub's.
const TOLERANCE: i64 = 60;

/// The answer, if it is a success. What Sumsub calls the call is in the log: its support finds it by that.
pub(super) fn success(reply: &Reply) -> Result<&Reply, ProviderError> {
    if reply.is_success() {
        return Ok(reply);
    }
    let said: wire::Refusal = serde_json::from_slice(&reply.body).unwrap_or_default();
    warn!(
        provider = "sumsub",
        status = reply.status,
        correlation = word(said.correlation_id.as_deref()),
        error = word(said.error_name.as_deref()),
        "Sumsub did not do what it was asked"
    );
    Err(ProviderError::from_status(reply.status, None, reply.retry_after()))
}

/// An id or a machine's word; the description beside them may quote the person.
fn word(text: Option<&str>) -> &str {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    text.filter(|text| (1..=64).contains(&text.len()) && text.bytes().all(plain))
        .unwrap_or("(none)")
}

/// By how many seconds Sumsub's clock was ahead of the time that a call was signed with, where it refused the call and the
/// difference is why.
pub(super) fn clock_ahead(reply: &Reply, signed_at: DateTime<Utc>) -> Option<i64> {
    let said = DateTime::parse_from_rfc2822(reply.header(&header::DATE)?).ok()?;
    let ahead = said.timestamp() - signed_at.timestamp();
    (reply.status == 401 && ahead.abs() >= TOLERANCE).then_some(ahead)
}
