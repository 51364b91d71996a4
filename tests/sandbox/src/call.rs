//! A request as the providers see it, and the answer they give.

use poem::{
    Request, Response,
    http::{HeaderMap, StatusCode, header},
};
use serde_json::Value;

use crate::{
    encoding::{form_pairs, percent_decode},
    journal::Effect,
};

/// No provider here needs more; a client that sends more is wrong.
const BODY_LIMIT: usize = 1024 * 1024;

/// A request, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// The path as sent, prefix included.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Call {
    /// Reads the request; the error is the answer for one that cannot be read.
    pub(crate) async fn read(mut request: Request) -> Result<Self, Reply> {
        let body = request.take_body().into_bytes_limit(BODY_LIMIT).await;
        let body = body
            .map_err(|_| Reply::text(413, "the body is too large or was cut off"))?
            .to_vec();
        let address = request.original_uri();
        Ok(Self {
            method: request.method().as_str().to_owned(),
            path: address.path().to_owned(),
            query: address.query().unwrap_or_default().to_owned(),
            headers: request.headers().clone(),
            body,
        })
    }

    /// The decoded path segments behind the provider's prefix.
    pub(crate) fn segments(&self) -> Vec<String> {
        self.path.split('/').skip(2).map(percent_decode).collect()
    }

    /// The decoded path segment at a position behind the prefix; empty when the path is shorter.
    pub(crate) fn segment(&self, position: usize) -> String {
        self.path
            .split('/')
            .nth(position + 2)
            .map(percent_decode)
            .unwrap_or_default()
    }

    /// A header's text; absent, repeated or unreadable headers are `None`.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok()?;
        values.next().is_none().then_some(value)
    }

    /// The decoded query pairs.
    pub(crate) fn query_pairs(&self) -> Vec<(String, String)> {
        form_pairs(&self.query)
    }

    /// The pairs of a form body; `None` when the content type or the text is something else.
    pub(crate) fn form(&self) -> Option<Vec<(String, String)>> {
        let kind = self.header("content-type")?.split(';').next()?.trim();
        let is_form = kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        is_form
            .then(|| std::str::from_utf8(&self.body).ok())
            .flatten()
            .map(form_pairs)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// The single value of a name. A repeated name counts as absent, since nobody can say which one was meant.
pub(crate) fn single<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = pairs.iter().filter(|(key, _)| key == name);
    let value = &values.next()?.1;
    values.next().is_none().then_some(value)
}

/// An answer, together with what the request brought about.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) effects: Vec<Effect>,
}

impl Reply {
    pub(crate) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// What it brought about stays; of the answer nothing but this status is left.
    pub(crate) fn lost_to(self, status: u16) -> Self {
        Self {
            effects: self.effects,
            ..Self::empty(status)
        }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        let reply = Self {
            body: body.to_string().into_bytes(),
            ..Self::empty(status)
        };
        reply.header("content-type", "application/json")
    }

    pub(crate) fn html(status: u16, page: String) -> Self {
        // No scripts, nothing foreign, no referrer: the address of this page carries state, nonce and ids.
        Self {
            body: page.into_bytes(),
            ..Self::empty(status)
        }
        .header("content-type", "text/html; charset=utf-8")
        .header(
            "content-security-policy",
            "default-src 'none'; style-src 'unsafe-inline'",
        )
        .header("referrer-policy", "no-referrer")
        .header("cache-control", "no-store")
    }

    pub(crate) fn text(status: u16, text: &str) -> Self {
        let reply = Self {
            body: text.as_bytes().to_vec(),
            ..Self::empty(status)
        };
        reply.header("content-type", "text/plain; charset=utf-8")
    }

    /// 303 See Other.
    pub(crate) fn see_other(location: &str) -> Self {
        Self::empty(303)
            .header("location", location)
            .header("cache-control", "no-store")
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn effect(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    pub(crate) fn location(&self) -> Option<&str> {
        self.headers
            .iter()
            .find(|(name, _)| name == "location")
            .map(|(_, value)| value.as_str())
    }

    /// The answer's head, for a body of the caller's making.
    pub(crate) fn head(&self) -> poem::ResponseBuilder {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let head = Response::builder().status(status);
        self.headers
            .iter()
            .fold(head, |head, (name, value)| match header::HeaderValue::from_str(value) {
                Ok(value) => head.header(name.as_str(), value),
                Err(_) => head,
            })
    }

    pub(crate) fn into_response(self) -> Response {
        let head = self.head();
        head.body(self.body)
    }
}
