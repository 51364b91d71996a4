//! `/openapi.json`, `/openapi-3.0.json` and two pages that show them, served whole by this binary: nothing is loaded
//! from elsewhere.

use poem::endpoint::make_sync;
use poem::http::header;
use poem::{Response, Route, get};
use poem_openapi::{OpenApi, OpenApiService, Webhook};

use super::Documents;

/// The pages carry their scripts inside, hence `unsafe-inline`; nothing else may run or load.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
    font-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Adds the documents and the pages to `route`.
pub fn pages<T: OpenApi, W: Webhook>(route: Route, service: &OpenApiService<T, W>, documents: &Documents) -> Route {
    let (v31, v30) = (documents.v31.to_string(), documents.v30.to_string());
    // "</script>" inside the text would end the script it stands in.
    let (plain, embedded) = (service.spec(), v31.replace("</", "<\\/"));
    let scalar = service.scalar_html().replace(&plain, &embedded).replacen(
        r#"id="api-reference""#,
        r#"id="api-reference" data-configuration='{"withDefaultFonts":false,"hideClientButton":true}'"#,
        1,
    );
    let swagger = service.swagger_ui_html().replace(&plain, &embedded);
    route
        .at("/openapi.json", get(fixed("application/json", v31)))
        .at("/openapi-3.0.json", get(fixed("application/json", v30)))
        .at("/docs", get(fixed("text/html; charset=utf-8", scalar)))
        .at("/docs/swagger", get(fixed("text/html; charset=utf-8", swagger)))
}

fn fixed(content_type: &'static str, text: String) -> impl poem::Endpoint<Output = Response> {
    // Leaked once at start: the pages weigh megabytes and are shared by every answer, not copied.
    let text: &'static str = text.leak();
    make_sync(move |_| {
        let response = Response::builder().content_type(content_type);
        response.header(header::CONTENT_SECURITY_POLICY, POLICY).body(text)
    })
}
