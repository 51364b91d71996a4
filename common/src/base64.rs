//! Reading base64 (RFC 4648); the dependency set has no crate for it.

/// The bytes of `text`, or `None` when it is not padded standard base64 (section 4), as keys in variables are.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    if text.is_empty() || !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=');
    (text.len() - digits.len() <= 2)
        .then(|| bytes(digits, [b'+', b'/']))
        .flatten()
}

/// The bytes of `text`, or `None` when it is not base64url without padding (section 5), as the parts of a JWT are.
pub(crate) fn decode_url(text: &str) -> Option<Vec<u8>> {
    bytes(text, [b'-', b'_'])
}

/// `last` are the digits 62 and 63, in which the two alphabets differ.
fn bytes(digits: &str, last: [u8; 2]) -> Option<Vec<u8>> {
    if digits.len() % 4 == 1 {
        return None; // six bits are no byte
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for digit in digits.bytes() {
        bits = (bits << 6) | value(digit, last)?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).expect("masked to eight bits"));
        }
    }
    Some(bytes)
}

fn value(digit: u8, [plus, slash]: [u8; 2]) -> Option<u32> {
    Some(u32::from(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        _ if digit == plus => 62,
        _ if digit == slash => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decode, decode_url};
    use crate::keyring::base64url;

    #[test]
    fn the_test_vectors_of_rfc_4648_decode() {
        for (text, bytes) in [("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()), "{text}");
            let unpadded = text.trim_end_matches('=');
            assert_eq!(decode_url(unpadded).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_base64_gives_nothing() {
        for text in ["", "Zg", "Zg=", "Z===", "Zm9-", "Zm 9v"] {
            assert_eq!(decode(text), None, "{text}");
        }
        for text in ["Z", "Zg==", "Zm9+", "Zm9/", "Zm 9v", "Zm9v\n", "Zm9v.Zm9v", "Zm9vZ"] {
            assert_eq!(decode_url(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(bytes: Vec<u8>) {
            prop_assert_eq!(decode_url(&base64url(&bytes)), Some(bytes));
        }
    }
}
