//! Webhooks signed by programs that are not ours, and everything that a signature does not cover.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use drop_common::providers::sumsub::webhook::{DigestError, Secrets, SignedWith, verify};
use drop_tests::{app::TestApp, settings::SUMSUB_SECRET};
use rstest::rstest;

use super::scene::{digest, posts};

/// The header's word, and what the programs call it.
const ALGORITHMS: [(&str, &str); 3] = [
    ("HMAC_SHA1_HEX", "sha1"),
    ("HMAC_SHA256_HEX", "sha256"),
    ("HMAC_SHA512_HEX", "sha512"),
];
const BODY: &str = "{\"type\":\"applicantPending\",\"applicantId\":\"5f9e1b2c\",\"note\":\"blåbær \u{1f600}\\n\"}";

const NODE: &str = "const c = require('crypto'); let b = []; process.stdin.on('data', d => b.push(d));
    process.stdin.on('end', () => console.log(c.createHmac(process.argv[1], process.argv[2]).update(Buffer.concat(b)).digest('hex')))";
const PYTHON: &str = "import hashlib, hmac, sys
print(hmac.new(sys.argv[2].encode(), sys.stdin.buffer.read(), getattr(hashlib, sys.argv[1])).hexdigest())";

/// What another program says the digest is. `None` where there is no such program; in a pipeline there must be.
fn signed_by(program: &str, algorithm: &str, secret: &str, body: &[u8]) -> Option<String> {
    let (flag, hmac) = (format!("-{algorithm}"), format!("key:{secret}"));
    let arguments: Vec<&str> = match program {
        "openssl" => vec!["dgst", &flag, "-mac", "HMAC", "-macopt", &hmac],
        "node" => vec!["-e", NODE, algorithm, secret],
        _ => vec!["-c", PYTHON, algorithm, secret],
    };
    let started = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{program} is missing");
        return None;
    };
    child.stdin.take().unwrap().write_all(body).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}");
    let said = String::from_utf8(output.stdout).unwrap();
    // openssl says what it was asked before what it answers.
    Some(said.trim().rsplit(' ').next().unwrap().to_owned())
}

#[rstest]
#[case::openssl("openssl")]
#[case::node("node")]
#[case::python("python3")]
#[tokio::test]
async fn what_another_program_signs_is_accepted_by_every_algorithm_and_no_other_body_is(#[case] program: &str) {
    let app = TestApp::start_with(&[("SUMSUB_WEBHOOK_SHA1", "true")]).await;
    for (word, algorithm) in ALGORITHMS {
        let Some(digest) = signed_by(program, algorithm, SUMSUB_SECRET, BODY.as_bytes()) else {
            continue;
        };
        let headers = [("x-payload-digest", digest.as_str()), ("x-payload-digest-alg", word)];
        assert_eq!(posts(&app.url, BODY, &headers).await.0, 200, "{program} {word}");
        let other = BODY.replace("Pending", "Reviewed");
        let refused = (401, "invalid_signature".to_owned());
        assert_eq!(posts(&app.url, other, &headers).await, refused, "{program} {word}");
    }
    app.until_idle().await;
    app.finish().await;
}

#[tokio::test]
async fn the_example_of_the_providers_documentation_is_verified_where_sha1_is_configured_and_nowhere_else() {
    let app = TestApp::start_with(&[
        ("SUMSUB_SECRET_KEY", "SoMe_SeCrEt_KeY"),
        ("SUMSUB_WEBHOOK_SHA1", "true"),
    ])
    .await;
    let headers = [
        ("x-payload-digest", "f6e92ffe371718694d46e28436f76589312df8db"),
        ("x-payload-digest-alg", "HMAC_SHA1_HEX"),
    ];
    // Signed, and no JSON: it is kept.
    assert_eq!(
        posts(&app.url, "someText", &headers).await,
        (400, "bad_request".to_owned())
    );
    let kept: Vec<u8> = sqlx::query_scalar("SELECT raw FROM webhook_events WHERE state = 'quarantined'")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(kept, b"someText");
    let strict = app.start_replica(&[("SUMSUB_WEBHOOK_SHA1", "false")]).await;
    assert_eq!(posts(&strict, "someText", &headers).await.0, 401);
    app.finish().await;
}

#[tokio::test]
async fn any_other_header_is_401_and_nothing_of_it_is_stored() {
    let app = TestApp::start().await;
    let right = digest(SUMSUB_SECRET, BODY.as_bytes());
    let (cut, long) = (&right[..62], format!("{right}00"));
    let zeros = "0".repeat(64);
    let mut quoted = format!("\"{right}\"");
    let named = "x-payload-digest";
    for headers in [
        vec![],
        vec![(named, "")],
        vec![(named, cut)],
        vec![(named, long.as_str())],
        vec![(named, zeros.as_str())],
        vec![(named, "vOqEQFMcOsGO8s7ZkTvrgRe6BICTrMFke2Mly77LX2Y=")],
        vec![(named, quoted.as_str())],
        vec![(named, right.as_str()), (named, right.as_str())],
        vec![(named, right.as_str()), (named, zeros.as_str())],
        vec![(named, right.as_str()), ("x-payload-digest-alg", "")],
        vec![(named, right.as_str()), ("x-payload-digest-alg", "none")],
        vec![(named, right.as_str()), ("x-payload-digest-alg", "hmac_sha256_hex")],
        vec![(named, right.as_str()), ("x-payload-digest-alg", "HMAC_SHA512_HEX")],
        vec![(named, right.as_str()), ("x-payload-digest-alg", "HMAC_SHA1_HEX")],
        // What is there twice, or is no text, is not absent.
        vec![(named, right.as_str()), ("x-payload-digest-alg", "å")],
        vec![
            (named, right.as_str()),
            ("x-payload-digest-alg", "HMAC_SHA256_HEX"),
            ("x-payload-digest-alg", "HMAC_SHA256_HEX"),
        ],
        vec![
            (named, right.as_str()),
            ("x-payload-digest-alg", "HMAC_SHA256_HEX"),
            ("x-payload-digest-alg", "none"),
        ],
    ] {
        let refused = (401, "invalid_signature".to_owned());
        assert_eq!(posts(&app.url, BODY, &headers).await, refused, "{headers:?}");
    }
    quoted.clear();
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM webhook_events")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(stored, 0);
    assert_eq!(posts(&app.url, BODY, &[(named, &right.to_uppercase())]).await.0, 200);
    app.until_idle().await;
    app.finish().await;
}

#[test]
fn a_change_of_any_byte_of_the_body_the_digest_or_the_secret_is_noticed() {
    let secret = SUMSUB_SECRET;
    let check = |body: &[u8], digest: &str, secret: &str| {
        let current = secret.to_owned().into();
        let secrets = Secrets {
            current: &current,
            previous: None,
            allow_sha1: false,
        };
        verify(body, Some(digest), None, &secrets)
    };
    let (body, digest) = (BODY.as_bytes(), digest(secret, BODY.as_bytes()));
    assert_eq!(check(body, &digest, secret), Ok(SignedWith::Current));
    for at in 0..body.len() {
        for bit in 0..8 {
            let mut other = body.to_vec();
            other[at] ^= 1 << bit;
            assert_eq!(check(&other, &digest, secret), Err(DigestError::Mismatch), "byte {at}");
        }
    }
    for other in [
        &body[1..],
        &body[..body.len() - 1],
        &[body, b"\n"].concat(),
        &[b" ", body].concat(),
    ] {
        assert_eq!(check(other, &digest, secret), Err(DigestError::Mismatch));
    }
    for at in 0..digest.len() {
        for digit in "0123456789abcdef".chars() {
            let mut other = digest.clone();
            other.replace_range(at..=at, &digit.to_string());
            let right = other == digest;
            assert_eq!(check(body, &other, secret).is_ok(), right, "digit {at}");
        }
    }
    for at in 0..secret.len() {
        let mut other = secret.to_owned();
        other.replace_range(at..=at, "~");
        assert_eq!(
            check(body, &digest, &other),
            Err(DigestError::Mismatch),
            "secret, byte {at}"
        );
    }
}

/// Comparing is the library's work, in constant time: a digest is never an operand of `==`.
#[test]
fn digests_are_compared_by_the_library_alone() {
    let source = include_str!("../../../common/src/providers/sumsub/webhook.rs");
    let code = source.split("#[cfg(test)]").next().unwrap();
    let (matches, _) = code.split_once("fn matches").expect("where they are compared");
    assert!(!matches.contains("tag =="), "a digest is compared before");
    let comparing = &code[matches.len()..];
    assert_eq!(comparing.matches("verify_slice(tag)").count(), 2);
    assert_eq!(comparing.matches("ring_hmac::verify(&key, raw, tag)").count(), 1);
    for compared in ["tag ==", "== tag", "tag !=", "!= tag", "tag.eq(", "starts_with(tag"] {
        assert!(!code.contains(compared), "{compared}");
    }
}
