//! Forms: who may send one, and what must be in it.

use std::{str::FromStr, sync::Arc};

use drop_common::metrics::OPERATOR_ACTIONS;
use poem::{
    Body, FromRequest, Request, RequestBody, Response,
    http::{StatusCode, header},
};

use super::{Page, session, stop::Stop};
use crate::operator::actions::{self, By};

/// The field that proves that our own page made the form.
pub(super) const TOKEN: &str = "form";
/// A thousand jobs' numbers, and more.
const LARGEST: usize = 64 * 1024;
/// Named texts of a form or a query; a name may be there several times.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn parse(text: &[u8]) -> Self {
        Self(serde_urlencoded::from_bytes(text).unwrap_or_default())
    }

    /// The first of this name; an empty one is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Whether there is one of this name, though it may be empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }

    /// The same as a value; what cannot be read as one is none.
    pub(super) fn parsed<T: FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }

    /// All of this name that are not empty.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let named = self.0.iter().filter(move |(found, _)| found == name);
        named.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// All of them as values; `None`: one cannot be read.
    pub(super) fn all_parsed<T: FromStr>(&self, name: &str) -> Option<Vec<T>> {
        self.all(name).map(|value| value.parse().ok()).collect()
    }
}

/// A form of somebody who may change something, which our own page made, with a reason.
pub(super) struct Act {
    pub(super) page: Arc<Page>,
    pub(super) by: By,
    pub(super) form: Fields,
}

impl<'a> FromRequest<'a> for Act {
    async fn from_request(request: &'a Request, body: &mut RequestBody) -> poem::Result<Self> {
        let page = session::page(request);
        let who = session::identify(request, &page).await?.ok_or(Stop::SignIn(None))?;
        if !who.may_change() {
            return Err(Stop::Forbidden("You may look, and change nothing.").into());
        }
        is_ours(request)?;
        let form = read(body.take().map_err(|_| Stop::Unusable("The form is empty."))?).await?;
        if !form.get(TOKEN).is_some_and(|token| who.made(token, &page.context.keys)) {
            return Err(Stop::Forbidden("This form is not one that the page made for you. Load the page anew.").into());
        }
        let reason = actions::reason(form.get("reason").unwrap_or_default()).map_err(Stop::Unusable)?;
        let by = By {
            reason,
            operator: who.name,
        };
        Ok(Self { page, by, form })
    }
}

impl Act {
    /// Counts what was done, and shows the page again from which it was.
    pub(super) fn done(&self, action: &'static str, changed: usize) -> Response {
        self.page.context.metrics.count(&OPERATOR_ACTIONS, &[action]);
        tracing::info!(operator = self.by.operator, action, changed, "an operator did {action}");
        let back = self
            .form
            .get("back")
            .filter(|back| is_page(back))
            .unwrap_or("/operator");
        let sign = if back.contains('?') { '&' } else { '?' };
        Response::builder()
            .status(StatusCode::SEE_OTHER)
            .header(header::LOCATION, format!("{back}{sign}did={action}&n={changed}"))
            .finish()
    }
}

pub(super) fn is_ours(request: &Request) -> Result<(), Stop> {
    is_from_here(request)
        .then_some(())
        .ok_or(Stop::Forbidden("This form was sent from another page."))
}

/// A browser says where something was sent from: every one in `Origin`, and where it trusts the connection in `Sec-Fetch-Site`.
pub(in crate::operator) fn is_from_here(request: &Request) -> bool {
    match (request.header("sec-fetch-site"), request.header(header::ORIGIN)) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => is_origin_of(origin, request.header(header::HOST)),
        // No browser.
        (None, None) => true,
    }
}

/// Without the scheme: TLS may end before us.
fn is_origin_of(origin: &str, host: Option<&str>) -> bool {
    let named = origin.split_once("://").map(|(_, named)| named);
    named.is_some() && named == host
}

pub(super) async fn read(body: Body) -> Result<Fields, Stop> {
    let bytes = body.into_bytes_limit(LARGEST).await;
    Ok(Fields::parse(
        &bytes.map_err(|_| Stop::Unusable("The form is too large."))?,
    ))
}

/// The address of one of these pages, as it stands in a header. The path is letters, digits and what our own paths have between
/// them: browsers read dots, backslashes and what is percent-encoded as ways to elsewhere. What is below it and no page is none.
pub(super) fn is_page(address: &str) -> bool {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let is_ours = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    let is_other = |below: &str| {
        ["api/", "assets/", "sign-"]
            .iter()
            .any(|other| below.starts_with(other))
    };
    (path == "/operator" || path.strip_prefix("/operator/").is_some_and(|below| !is_other(below)))
        && path.bytes().all(is_ours)
        && !path.contains("//")
        && query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_leads_back_to_one_of_these_pages_and_nowhere_else() {
        for ours in [
            "/operator",
            "/operator?did=x",
            "/operator/jobs?state=dead&kind=x",
            "/operator/find?q=a%2F%2Fb%23c",
            "/operator/audit",
        ] {
            assert!(is_page(ours), "{ours}");
        }
        for elsewhere in [
            "//example.com",
            "//example.com/operator/",
            "/\\example.com",
            "\\\\example.com",
            "%2F%2Fexample.com",
            "/%2Fexample.com",
            "/operator//x",
            "/operator/\\x",
            "/operator/%5Cx",
            "/operator/../x",
            "/operator/%2e%2e/x",
            "/operator/..%2F..",
            "/operator@example.com",
            "/operator.example.com",
            "https://example.com",
            "https:/operator",
            "javascript:alert(1)",
            "operator/jobs",
            " /operator",
            "/operators",
            "/metrics",
            "/operator/\r\nx",
            "/operator?x\r\nset-cookie: y",
            "/operator/api/openapi.json",
            "/operator/assets/style.css",
            "/operator/assets/x",
            "/operator/sign-in",
            "/operator/sign-in?to=/operator",
            "/operator/sign-out",
            "/operator#x",
            "/operator?x#y",
            "",
        ] {
            assert!(!is_page(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_form_of_another_origin_is_not_ours() {
        assert!(is_origin_of("http://127.0.0.1:9091", Some("127.0.0.1:9091")));
        assert!(is_origin_of("https://ops.example", Some("ops.example")));
        for foreign in [
            "null",
            "https://ops.example.evil.test",
            "https://ops.example:444",
            "ops.example",
        ] {
            assert!(!is_origin_of(foreign, Some("ops.example")), "{foreign}");
        }
        assert!(!is_origin_of("null", None));
    }

    #[test]
    fn an_empty_field_is_none_and_a_name_may_be_there_twice() {
        let fields = Fields::parse(b"id=1&id=2&reason=+&kind=poll-payment");
        assert_eq!(fields.all_parsed::<i64>("id"), Some(vec![1, 2]));
        assert_eq!((fields.get("reason"), fields.get("kind")), (None, Some("poll-payment")));
    }
}
