//! The header `Idempotency-Key`: 1 to 255 visible ASCII characters, bare or as a quoted string.

use std::borrow::Cow;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromParameter, ParseResult, Type};

/// Longest key taken, without quotes.
const MAX_LEN: usize = 255;

/// A client's name for one intention; the same key never does the work twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads the header's value. One pair of quotes is taken off: the draft standard sends a quoted string, most clients
    /// send it bare, and both must mean the same key.
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim_matches([' ', '\t']);
        let bare = value
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(value);
        let visible = bare.bytes().all(|byte| byte.is_ascii_graphic());
        ((1..=MAX_LEN).contains(&bare.len()) && visible).then(|| Self(bare.to_owned()))
    }

    /// The key as it is stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Type for IdempotencyKey {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            min_length: Some(1),
            max_length: Some(MAX_LEN),
            pattern: Some("^[!-~]+$".to_owned()),
            example: Some("9f1c7a52-6f0b-4a53-9d1c-0d5c1f9a2b7e".into()),
            ..MetaSchema::new("string")
        }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(self.as_raw_value().into_iter())
    }
}

impl ParseFromParameter for IdempotencyKey {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        Self::parse(value).ok_or_else(|| ParseError::custom("1 to 255 visible ASCII characters are required"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_and_bare_are_the_same_key() {
        assert_eq!(IdempotencyKey::parse("\"a-1\""), IdempotencyKey::parse("a-1"));
        assert_eq!(IdempotencyKey::parse(" a-1 ").unwrap().as_str(), "a-1");
    }

    #[test]
    fn empty_long_and_invisible_keys_are_refused() {
        assert!(IdempotencyKey::parse(&"k".repeat(255)).is_some());
        for key in ["", "\"\"", "a b", "nøkkel", "a\u{7f}", &"k".repeat(256)] {
            assert_eq!(IdempotencyKey::parse(key), None, "{key}");
        }
    }
}
