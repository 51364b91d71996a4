//! Page or JSON, and in which language (RFC 9110 section 12.5).

use poem::{
    Request,
    http::{HeaderName, header},
};

/// Whether the caller would rather read a page than JSON. Without an `Accept`, or where both are equally welcome, it is
/// a program: `*/*` is what HTTP libraries send. A browser names `text/html`, and JSON by `*/*` at most.
pub fn prefers_page(request: &Request) -> bool {
    let ranges = weighted(request, header::ACCEPT);
    let page = welcome(&ranges, "text/html");
    let json = welcome(&ranges, "application/json").max(welcome(&ranges, "application/problem+json"));
    page > json
}

/// The languages that pages are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Bokmål: what is shown unless English is asked for before it.
    Norwegian,
    /// English.
    English,
}

impl Language {
    /// The one that the caller prefers.
    pub fn of(request: &Request) -> Self {
        let ranges = weighted(request, header::ACCEPT_LANGUAGE);
        let best = |languages: &[&str]| {
            let named = ranges.iter().filter(|(range, _)| {
                let primary = range.split('-').next().unwrap_or_default();
                languages.contains(&primary)
            });
            named.map(|(_, quality)| *quality).max().unwrap_or_default()
        };
        if best(&["en"]) > best(&["nb", "nn", "no"]) {
            Self::English
        } else {
            Self::Norwegian
        }
    }
}

/// How welcome a media type is: the quality of the most specific range that covers it, then how specific that one is.
fn welcome(ranges: &[(String, u16)], media_type: &str) -> (u16, u8) {
    let whole_kind = media_type.split_once('/').map(|(kind, _)| format!("{kind}/*"));
    let covering = ranges.iter().filter_map(|(range, quality)| {
        let specific = match range.as_str() {
            exact if exact == media_type => 3,
            kind if Some(kind) == whole_kind.as_deref() => 2,
            "*/*" => 1,
            _ => return None,
        };
        Some((*quality, specific))
    });
    let most_specific = covering.max_by_key(|(quality, specific)| (*specific, *quality));
    most_specific.filter(|(quality, _)| *quality > 0).unwrap_or_default()
}

/// What a header lists, in lower case, with its quality in thousandths. What cannot be read is passed over.
fn weighted(request: &Request, name: HeaderName) -> Vec<(String, u16)> {
    let values = request.headers().get_all(name).iter();
    let listed = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','));
    listed
        .filter_map(|element| {
            let mut parts = element.split(';').map(str::trim);
            let range = parts.next().filter(|range| !range.is_empty())?.to_ascii_lowercase();
            let weight = parts.find_map(|part| part.strip_prefix(['q', 'Q'])?.trim_start().strip_prefix('='));
            Some((range, weight.map_or(Some(1000), quality)?))
        })
        .collect()
}

/// `0`, `1`, or a decimal fraction between them with at most three digits.
fn quality(text: &str) -> Option<u16> {
    let (whole, fraction) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match (whole, format!("{fraction:0<3}").parse().ok()?) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(accept: &str) -> Request {
        Request::builder().header(header::ACCEPT, accept).finish()
    }

    #[test]
    fn browsers_get_pages() {
        for accept in [
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            "text/html, application/xhtml+xml, */*",
            "text/html",
            "Text/HTML;charset=utf-8; Q=0.3",
            "text/*",
            "application/json;q=0.5, text/html;q=0.501",
        ] {
            assert!(prefers_page(&accepting(accept)), "{accept}");
        }
    }

    #[test]
    fn programs_get_json() {
        assert!(!prefers_page(&Request::default()));
        for accept in [
            "",
            "*/*",
            "application/json",
            "application/problem+json, text/html",
            "application/json, text/html",
            "text/html;q=0, */*",
            "text/html;q=0.5, application/*;q=0.6",
            "text/html;q=0.4, */*;q=0.5",
            "text/html;q=2",
            "text/html;q=0.1234",
            "image/png",
        ] {
            assert!(!prefers_page(&accepting(accept)), "{accept}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let request = Request::builder()
            .header(header::ACCEPT, "application/json;q=0.1")
            .header(header::ACCEPT, "text/html")
            .finish();
        assert!(prefers_page(&request));
    }

    #[test]
    fn english_is_shown_to_whoever_prefers_it_and_norwegian_to_everybody_else() {
        let language = |text: &str| Language::of(&Request::builder().header(header::ACCEPT_LANGUAGE, text).finish());
        assert_eq!(Language::of(&Request::default()), Language::Norwegian);
        for text in [
            "nb-NO,nb;q=0.9,en;q=0.8",
            "en;q=0.5, nn",
            "nb,en",
            "*",
            "de",
            "en;q=0",
            "eng",
            "",
        ] {
            assert_eq!(language(text), Language::Norwegian, "{text}");
        }
        for text in ["en-US,en;q=0.9,nb;q=0.8", "EN", "de, en;q=0.1", "nb;q=0.5,en-GB;q=0.6"] {
            assert_eq!(language(text), Language::English, "{text}");
        }
    }
}
