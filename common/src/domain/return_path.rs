//! Where a browser may go after its login.

/// The longest return path.
pub const MAX_RETURN_PATH: usize = 512;

/// What is no page: the API's own addresses, among them the start of the next login.
const NO_PAGES: [&str; 2] = ["api", "v1"];

/// Where the browser goes after the login: a page on our own host, never another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnPath(String);

impl ReturnPath {
    /// Takes a path that is one of `pages` or lies under one, with a query and a fragment of visible ASCII.
    ///
    /// A browser reads `\` as `/`, drops tabs and newlines, and resolves `.`, `..` and `%2e`, so that `//x`, `/\x`,
    /// `/<tab>/x` and `/.//x` may all leave for another host. None of our pages needs any of these in its path.
    pub fn parse(text: &str, pages: &[String]) -> Result<Self, UnsafeReturnPath> {
        let path = text.split(['?', '#']).next().unwrap_or_default();
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        if is_page(path) && pages.iter().any(|page| lies_under(path, page)) && visible && text.len() <= MAX_RETURN_PATH
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(UnsafeReturnPath)
        }
    }

    /// The path, for the `Location` header and the row.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether it is a plain path of plain names.
pub(crate) fn is_page(path: &str) -> bool {
    let Some(names) = path.strip_prefix('/') else {
        return false;
    };
    let first = names.split('/').next().unwrap_or_default();
    let names = names
        .strip_suffix('/')
        .filter(|names| !names.is_empty())
        .unwrap_or(names);
    let plain = names.is_empty() || names.split('/').all(is_plain);
    plain && !NO_PAGES.iter().any(|api| first.eq_ignore_ascii_case(api))
}

fn is_plain(name: &str) -> bool {
    let letters = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    letters && !matches!(name, "" | "." | "..")
}

fn lies_under(path: &str, page: &str) -> bool {
    let page = page.trim_end_matches('/');
    path.strip_prefix(page)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The text is not a page of our own host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the return path is not a page of this host")]
pub struct UnsafeReturnPath;

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(path: &str, pages: &[&str]) -> Result<ReturnPath, UnsafeReturnPath> {
        let pages: Vec<String> = pages.iter().map(|page| (*page).to_owned()).collect();
        ReturnPath::parse(path, &pages)
    }

    #[rstest]
    fn a_page_of_this_host_is_taken(
        #[values(
            "/",
            "/home",
            "/pay/",
            "/pay?to=x&n=1#top",
            "/a/b.html?next=//x/../y%2F",
            "/#/v1/",
            "/apis",
            "/..."
        )]
        path: &str,
    ) {
        assert_eq!(parse(path, &["/"]).unwrap().as_str(), path);
    }

    #[rstest]
    fn a_way_to_another_host_is_refused(
        #[values(
            "",
            "home",
            "?x",
            "//",
            "//evil.example",
            "///evil.example",
            "/.//evil.example",
            "/..//evil.example",
            "/%2e//evil.example",
            "/%2F%2Fevil.example",
            "/a//b",
            "/a/../..//evil.example",
            "/a/..",
            "/\\evil.example",
            "\\\\evil.example",
            "/a\\b",
            "/?a\\b",
            "https://evil.example",
            "javascript:alert(1)",
            "/\t/evil.example",
            "/\n/evil.example",
            "/a\r\nSet-Cookie: x",
            "/a?b\r\nSet-Cookie: x",
            " /home",
            "/ho me",
            "/hø",
            "/\u{0}",
            "@evil.example",
            "/@evil.example",
            ".//evil.example"
        )]
        path: &str,
    ) {
        assert_eq!(parse(path, &["/"]), Err(UnsafeReturnPath));
    }

    #[rstest]
    fn the_api_is_no_page(
        #[values(
            "/api",
            "/api/auth/bankid/login?return_to=/",
            "/API/x",
            "/v1/me",
            "/v1",
            "/V1/",
            "/api?x",
            "/v1#x"
        )]
        path: &str,
    ) {
        assert_eq!(parse(path, &["/", "/api", "/v1"]), Err(UnsafeReturnPath));
    }

    #[test]
    fn only_the_listed_pages_and_what_lies_under_them_is_taken() {
        for path in ["/pay", "/pay/", "/pay/to/x", "/pay?x", "/home#top", "/home/x"] {
            assert!(parse(path, &["/pay", "/home/"]).is_ok(), "{path}");
        }
        for path in ["/", "/pays", "/pay.html", "/x/pay", "/Pay"] {
            assert_eq!(parse(path, &["/pay", "/home/"]), Err(UnsafeReturnPath), "{path}");
        }
        assert_eq!(parse("/", &[]), Err(UnsafeReturnPath));
    }

    #[test]
    fn a_path_of_more_than_512_characters_is_refused() {
        assert!(parse(&format!("/{}", "a".repeat(511)), &["/"]).is_ok());
        assert_eq!(parse(&format!("/{}", "a".repeat(512)), &["/"]), Err(UnsafeReturnPath));
    }
}
