use rstest::rstest;

use super::{client, config, trace};
use crate::providers::{
    bankid::{LoginRefused, UnverifiedTokens},
    testing::{FakeProvider, answer, json as reply},
};

async fn exchange(replies: Vec<String>) -> (Result<UnverifiedTokens, LoginRefused>, FakeProvider) {
    let provider = FakeProvider::start(replies).await;
    let bankid = client(config(&provider.url));
    let result = bankid.exchange(&"c&de".into(), &"verifier".into(), trace()).await;
    (result, provider)
}

#[tokio::test]
async fn the_code_is_exchanged_in_the_body_with_secret_and_verifier() {
    let granted = reply(
        200,
        r#"{"id_token":"a.b.c","access_token":"x","token_type":"bearer","expires_in":300,"more":1}"#,
    );
    let (result, provider) = exchange(vec![granted]).await;
    assert!(!format!("{:?}", result.expect("granted")).contains("a.b.c"));
    let seen = provider.seen().remove(0);
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(
        seen.body,
        "grant_type=authorization_code&code=c%26de\
         &redirect_uri=https%3A%2F%2Fgetdrop.no%2Fapi%2Fauth%2Fbankid%2Fcallback&client_id=drop\
         &client_secret=bankid+secret&code_verifier=verifier"
    );
}

#[rstest]
#[case(
    reply(400, r#"{"error":"invalid_grant","error_description":"private"}"#),
    "code_refused",
    false
)]
#[case(reply(401, r#"{"error":"unauthorized_client"}"#), "client_refused", true)]
#[case(reply(400, r#"{"error":"invalid_client"}"#), "client_refused", true)]
#[case(reply(500, ""), "exchange", false)]
#[case(answer(503, "", "<html>"), "exchange", false)]
#[case(answer(200, "", "<html>"), "exchange", false)]
#[case(answer(307, "location: http://127.0.0.1:1/\r\n", ""), "exchange", false)]
#[case(reply(200, &" ".repeat(256 * 1024 + 1)), "exchange", false)]
#[case(String::new(), "exchange", false)]
#[case(
    reply(200, r#"{"access_token":"x","token_type":"Bearer"}"#),
    "unusable_answer",
    false
)]
#[case(reply(200, r#"{"id_token":"a.b.c","token_type":"mac"}"#), "unusable_answer", false)]
#[tokio::test]
async fn a_failed_exchange_is_never_repeated(#[case] answered: String, #[case] reason: &str, #[case] ops: bool) {
    let (result, provider) = exchange(vec![answered.clone(), answered]).await;
    let refused = result.expect_err("refused");
    assert_eq!(
        (refused.code(), refused.reason(), refused.needs_ops()),
        ("token_exchange_failed", reason, ops)
    );
    assert_eq!(provider.seen().len(), 1);
    assert!(!format!("{refused:?}").contains("private"));
}
