//! Refusals in the standard's form.

use serde_json::json;

use crate::call::Reply;

/// `{"tppMessages":[{category,code,text}]}`.
pub(super) fn refused(status: u16, code: &str, text: &str) -> Reply {
    Reply::json(
        status,
        &json!({ "tppMessages": [{ "category": "ERROR", "code": code, "text": text }] }),
    )
}

pub(super) fn format_error(text: &str) -> Reply {
    refused(400, "FORMAT_ERROR", text)
}

pub(super) fn resource_unknown() -> Reply {
    refused(404, "RESOURCE_UNKNOWN", "the addressed resource is unknown")
}
