//! The small encodings of the wire, written here so that the sandbox shares none with the client it checks.

use std::fmt::Write as _;

use reqwest::Url;
use ring::{digest, hmac};

/// Base64url without padding (RFC 7515 section 2).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, &byte| group << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for position in 0..=chunk.len() {
            let index = group >> (18 - 6 * position) & 0x3f;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String cannot fail");
            text
        })
}

/// SHA-256 of the bytes.
pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

/// HMAC of the parts, one after the other, as lower-case hexadecimal.
pub(crate) fn hmac_hex(algorithm: hmac::Algorithm, secret: &[u8], parts: &[&[u8]]) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, secret));
    for part in parts {
        context.update(part);
    }
    hex(context.sign().as_ref())
}

/// The pairs of a query or of a form body, decoded, in order, repeated names kept.
pub(crate) fn form_pairs(text: &str) -> Vec<(String, String)> {
    let mut url = Url::parse("http://form.invalid/").expect("the address is a constant");
    url.set_query(Some(text));
    url.query_pairs().into_owned().collect()
}

/// Undoes `%41`; anything that is not such a triple stays as it is.
pub(crate) fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut position = 0;
    while position < bytes.len() {
        let triple = bytes
            .get(position + 1..position + 3)
            .filter(|_| bytes[position] == b'%');
        let value = triple
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|d| u8::from_str_radix(d, 16).ok());
        decoded.push(value.unwrap_or(bytes[position]));
        position += if value.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The address with further query pairs behind those it already has; the address itself when it cannot be read.
pub(crate) fn with_query(address: &str, pairs: &[(&str, &str)]) -> String {
    let Ok(mut url) = Url::parse(address) else {
        return address.to_owned();
    };
    url.query_pairs_mut().extend_pairs(pairs);
    url.into()
}

/// Text that may stand in an HTML page or attribute.
pub(crate) fn html_escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_agrees_with_the_vectors_of_rfc_4648_without_padding() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64url(plain.as_bytes()), encoded);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn percent_decoding_leaves_stray_percent_signs_alone() {
        assert_eq!(percent_decode("usr%5Fabc%3B"), "usr_abc;");
        assert_eq!(percent_decode("100%"), "100%");
        assert_eq!(percent_decode("%zz"), "%zz");
    }

    #[test]
    fn a_redirect_keeps_the_query_it_already_has() {
        assert_eq!(
            with_query("http://a.test/cb?state=x", &[("paymentId", "p 1")]),
            "http://a.test/cb?state=x&paymentId=p+1"
        );
    }
}
