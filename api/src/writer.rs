//! Who asks to change something: in a session that is live, and within the writes that a user may make in a minute.

use drop_common::{
    metrics::RATE_LIMITED,
    resilience::limits::Limit,
    storage::sessions::{self, NewWrite},
};
use poem::{Request, RequestBody};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions, registry::Registry};

use crate::{
    error::{ApiError, Code},
    rate_limit::WRITES,
    session::{Session, Sessions},
};

/// A [`Session`] whose request was counted among its user's writes.
#[derive(Debug, Clone, Copy)]
pub struct Writer {
    /// Whose.
    pub session: Session,
}

impl Writer {
    /// Looks the session up and counts the request in one round trip, for which a payment waits.
    async fn of(request: &Request) -> Result<Self, ApiError> {
        let sessions = Sessions::of(request);
        let session = sessions.named(request)?;
        let write = NewWrite {
            session: session.session.into(),
            user: session.user.into(),
            key: &WRITES.key(&session.user.to_string()),
            limit: WRITES.requests,
            window: WRITES.window,
        };
        match sessions::take_write(&sessions.pool, write).await? {
            Some(Limit::Allowed) => Ok(Self { session }),
            Some(Limit::RetryAfter(seconds)) => {
                sessions.metrics.count(&RATE_LIMITED, &[WRITES.name]);
                Err(ApiError::rate_limited(seconds))
            }
            None => Err(ApiError::of(Code::Unauthenticated)),
        }
    }
}

impl<'a> ApiExtractor<'a> for Writer {
    const TYPES: &'static [ApiExtractorType] = Session::TYPES;
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        Session::register(registry);
    }

    fn security_schemes() -> Vec<&'static str> {
        Session::security_schemes()
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self::of(request).await?)
    }
}
