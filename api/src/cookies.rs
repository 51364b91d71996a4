//! What a browser holds, by the cookie's exact name.
//!
//! The framework's jar decodes percent signs in names: a cookie that a neighbouring domain planted as `%5F%5FHost-x` would
//! pass for `__Host-x`, which only this host can set. So names are compared byte by byte here.

use poem::{Request, http::header};

/// The value of the first cookie of that name: for names with a prefix, of which a browser holds one for this host.
pub fn held<'a>(request: &'a Request, name: &'a str) -> Option<&'a str> {
    held_all(request, name).next()
}

/// The values of all cookies of that name. Of a name without a prefix a neighbouring domain can plant one beside ours, and
/// have it sent first by a longer path.
pub fn held_all<'a>(request: &'a Request, name: &'a str) -> impl Iterator<Item = &'a str> {
    let values = request.headers().get_all(header::COOKIE).iter();
    values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'))
        // Pair by pair: a foreign cookie that is no text takes none of ours away.
        .filter_map(|pair| {
            str::from_utf8(pair)
                .ok()?
                .trim_start_matches([' ', '\t'])
                .split_once('=')
        })
        .filter(move |(held, _)| *held == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    fn request(cookies: &[&[u8]]) -> Request {
        let mut request = Request::default();
        for cookie in cookies {
            let value = HeaderValue::from_bytes(cookie).unwrap();
            request.headers_mut().append(header::COOKIE, value);
        }
        request
    }

    #[test]
    fn a_cookie_is_found_by_its_exact_name_and_the_first_one_comes_first() {
        let request = request(&[b"a=1; b=2=3;\tc=", b"a=4"]);
        assert_eq!(held(&request, "a"), Some("1"));
        assert_eq!(held(&request, "b"), Some("2=3"));
        assert_eq!(held(&request, "c"), Some(""));
        assert_eq!(held(&request, "A"), None);
        assert!(held_all(&request, "a").eq(["1", "4"]));
    }

    #[test]
    fn nothing_but_the_name_itself_passes_for_a_name_with_a_prefix() {
        for planted in [
            "%5F%5FHost-x=1",
            "__Host%2Dx=1",
            "__host-x=1",
            "__Host-x =1",
            "=__Host-x=1",
            "\u{2000}__Host-x=1",
        ] {
            assert_eq!(held(&request(&[planted.as_bytes()]), "__Host-x"), None, "{planted}");
        }
    }

    #[test]
    fn a_cookie_that_is_no_text_hides_no_other() {
        assert_eq!(held(&request(&[b"junk=\xff\xfe; x=1"]), "x"), Some("1"));
    }
}
