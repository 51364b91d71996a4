//! The pages themselves: whole, small, and without a word that came from outside.

use std::sync::LazyLock;

use drop_common::keyring::{base64url, sha256};
use poem::{
    Response,
    http::{HeaderValue, header},
};
use uuid::Uuid;

use super::{
    Language,
    words::{self, Words},
};
use crate::error::Code;

/// Where a new login begins.
const START: &str = "/api/auth/bankid/login";

/// Seconds until a waiting page asks again. The answer is waited for there, so this is no polling interval.
const ASK_AGAIN_AFTER: u8 = 1;

const STYLE: &str = "\
    :root{color-scheme:light dark}\
    body{font:1.125rem/1.5 system-ui,sans-serif;max-width:32rem;margin:15vh auto;padding:0 1.5rem}\
    h1{font-size:1.6rem;line-height:1.2}\
    a{display:inline-block;padding:.6rem 1.2rem;border:2px solid;border-radius:.5rem;color:inherit}\
    small{opacity:.7;overflow-wrap:anywhere}";

/// The one style is named by its hash; nothing else loads, runs, frames the page or is sent from it.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    // 32 bytes are 43 characters and one of padding; the policy's alphabet is the standard one.
    let hash = base64url(&sha256(STYLE.as_bytes())).replace('-', "+").replace('_', "/");
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("a policy is header text")
});

/// Says why there is no session, in place of the problem that `answer` is; its status and its headers stay.
pub(crate) fn error_page(answer: Response, language: Language, code: Code, request: Uuid) -> Response {
    let words = words::about(code);
    let link = words.again.then(|| (START, words::try_again(language)));
    let fine_print = format!("{} · {request}", code.as_str());
    shown(answer, &html(language, &words, "", link, &fine_print))
}

/// Asks at `place`, an address of ours, by itself: in place of the empty 202 that `answer` is.
pub(crate) fn waiting_page(answer: Response, language: Language, place: &str, request: Uuid) -> Response {
    let refresh = format!(r#"<meta http-equiv="refresh" content="{ASK_AGAIN_AFTER}; url={place}">"#);
    let link = Some((place, words::go_on(language)));
    let fine_print = request.to_string();
    shown(answer, &html(language, &words::WAITING, &refresh, link, &fine_print))
}

fn html(language: Language, words: &Words, head: &str, link: Option<(&str, &str)>, fine_print: &str) -> String {
    let code = match language {
        Language::Norwegian => "nb",
        Language::English => "en",
    };
    let (heading, text) = (words.heading(language), words.text(language));
    let link = link.map_or_else(String::new, |(place, label)| {
        format!("<p><a href=\"{place}\">{label}</a></p>\n")
    });
    format!(
        "<!doctype html>\n<html lang=\"{code}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n{head}\
         <title>{heading} – Drop</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<h1>{heading}</h1>\n<p>{text}</p>\n{link}<p><small>{fine_print}</small></p>\n</main>\n</body>\n</html>\n"
    )
}

fn shown(mut answer: Response, html: &str) -> Response {
    answer.set_body(html.to_owned());
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    answer
}
