//! What a failure of the transport means.

use std::error::Error as _;

use super::error::ProviderError;

/// Before anything was answered: only what happened before a connection stood is provably not sent. With TLS 1.3 the server
/// judges our certificate after we have begun to send; it has read none of that when it turns us down.
pub(super) fn unanswered(error: reqwest::Error) -> ProviderError {
    if error.is_builder() {
        ProviderError::Blocked
    } else if error.is_connect() || is_turned_down(&error) {
        // The URL may hold a payment's or an applicant's id.
        ProviderError::Connect(Box::new(error.without_url()))
    } else {
        cut_off(error)
    }
}

/// Whatever it looks like: who has begun to answer has read the request.
pub(super) fn cut_off(error: reqwest::Error) -> ProviderError {
    let error = error.without_url();
    if error.is_timeout() {
        ProviderError::Timeout
    } else {
        ProviderError::Broken(Box::new(error))
    }
}

/// Whether the server ended the handshake because of who we are. The kind of an alert is kept in the error's text alone
/// where HTTP/2 was spoken.
fn is_turned_down(error: &reqwest::Error) -> bool {
    const ALERTS: [&str; 9] = [
        "AccessDenied",
        "BadCertificate",
        "CertificateExpired",
        "CertificateRequired",
        "CertificateRevoked",
        "CertificateUnknown",
        "HandshakeFailure",
        "UnknownCA",
        "UnsupportedCertificate",
    ];
    std::iter::successors(error.source(), |error| (*error).source()).any(|error| {
        let text = error.to_string();
        let alert = text.split_once("received fatal alert: ").map(|(_, alert)| alert);
        alert.is_some_and(|alert| ALERTS.contains(&alert))
    })
}
