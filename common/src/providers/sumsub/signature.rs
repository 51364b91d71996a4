use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// `X-App-Access-Sig`: lower-case hex of HMAC-SHA256 over time, verb, path with query and body.
pub(super) fn sign(secret: &SecretString, timestamp: i64, method: &str, path_and_query: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).expect("HMAC takes any key length");
    mac.update(timestamp.to_string().as_bytes());
    mac.update(method.as_bytes());
    mac.update(path_and_query.as_bytes());
    mac.update(body);
    hex(&mac.finalize().into_bytes())
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String cannot fail");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::sign;

    #[test]
    fn the_worked_values_of_the_scheme_come_out() {
        let secret = "example-app-secret".into();
        let get = "/resources/applicants/-;externalUserId=usr_abc123def456gh78/one";
        assert_eq!(
            sign(&secret, 1_700_000_000, "GET", get, b""),
            "c2753386a96f86889f2822b92eb8e7054381e1f18cd92f209be177510eb66ccf"
        );
        let post = "/resources/applicants?levelName=basic-kyc-level";
        assert_eq!(
            sign(
                &secret,
                1_700_000_000,
                "POST",
                post,
                br#"{"externalUserId":"usr_abc123def456gh78"}"#
            ),
            "efe788d0c9a980377f154266130cae113f4c12af8b58234de9b5be7d0e113798"
        );
    }
}
