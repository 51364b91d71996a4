//! The one stylesheet, the one script and the icon, from the binary. Their names change with their content.

use std::sync::LazyLock;

use drop_common::keyring::{base64url, sha256};
use poem::{
    Response, handler,
    http::{HeaderValue, header},
    web::Path,
};

use super::stop::Stop;

static STYLE: LazyLock<Asset> = LazyLock::new(|| Asset::new("style", "css", "text/css", include_str!("style.css")));
static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("script", "js", "text/javascript", include_str!("script.js")));
static ICON: LazyLock<Asset> = LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("icon.svg")));

/// The page loads it from here, and only with this content.
pub(super) struct Asset {
    name: String,
    content_type: &'static str,
    text: &'static str,
    /// As `integrity` and the policy have it.
    pub(super) hash: String,
}

impl Asset {
    fn new(name: &str, ending: &str, content_type: &'static str, text: &'static str) -> Self {
        let digest = sha256(text.as_bytes());
        let short = base64url(&digest[..6]);
        Self {
            name: format!("{name}-{short}.{ending}"),
            content_type,
            text,
            // The alphabet that every browser reads here, and padding.
            hash: format!("sha256-{}=", base64url(&digest).replace('-', "+").replace('_', "/")),
        }
    }

    pub(super) fn path(&self) -> String {
        format!("/operator/assets/{}", self.name)
    }
}

pub(super) fn style() -> &'static Asset {
    &STYLE
}

pub(super) fn script() -> &'static Asset {
    &SCRIPT
}

pub(super) fn icon() -> &'static Asset {
    &ICON
}

/// What the page may load, run and send.
pub(super) fn policy() -> HeaderValue {
    static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'",
            SCRIPT.hash
        );
        HeaderValue::from_str(&policy).expect("plain text")
    });
    POLICY.clone()
}

#[handler]
pub(super) fn serve(Path(name): Path<String>) -> Result<Response, Stop> {
    let assets = [style(), script(), icon()];
    let asset = assets
        .into_iter()
        .find(|asset| asset.name == name)
        .ok_or(Stop::NotFound)?;
    Ok(Response::builder()
        .content_type(format!("{}; charset=utf-8", asset.content_type))
        .header(header::CACHE_CONTROL, "public, max-age=31536000, immutable")
        .body(asset.text))
}
