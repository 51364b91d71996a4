//! The callback's parameters, each at most once.

use poem::Request;

use crate::error::{ApiError, Code};

const LONGEST_QUERY: usize = 4 * 1024;

/// What came back, not yet trusted.
pub(super) struct Returned {
    pub(super) code: Option<String>,
    pub(super) state: Option<String>,
    pub(super) error: Option<String>,
    pub(super) iss: Option<String>,
}

impl Returned {
    /// The framework takes the first of several equal parameters; which one counts must not depend on who reads.
    pub(super) fn of(request: &Request) -> Result<Self, ApiError> {
        let invalid = || ApiError::of(Code::InvalidCallback);
        let text = request.uri().query().unwrap_or_default();
        if text.len() > LONGEST_QUERY {
            return Err(invalid());
        }
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(text).map_err(|_| invalid())?;
        let repeated = pairs
            .iter()
            .any(|(key, _)| pairs.iter().filter(|(other, _)| other == key).count() > 1);
        if repeated {
            return Err(invalid());
        }
        let value = |name: &str| {
            let found = pairs.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone())
        };
        Ok(Self {
            code: value("code"),
            state: value("state"),
            error: value("error"),
            iss: value("iss"),
        })
    }
}
