//! The access token: fetched once for all who miss it, replaced in time, and repeated for once.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;

use super::{
    CallContext, Neonomics,
    tests::{CREATED, TOKEN_EXPIRED, client, config, context, pay, token},
};
use crate::providers::{
    Class, ProviderError,
    testing::{FakeProvider, json},
};

#[tokio::test]
async fn a_call_whose_token_came_late_is_not_made_and_the_next_one_has_the_token() {
    let provider = FakeProvider::start([token(), json(201, CREATED)]).await;
    let mut neonomics = client(config(&provider.url));
    neonomics.ready_within = Duration::ZERO;
    let error = pay(&neonomics).await.expect_err("late");
    assert_eq!((error.class(), error.was_not_made()), (Class::NotSent, true));
    assert_eq!(provider.seen().len(), 1, "the token's call alone");
    neonomics.ready_within = Duration::from_secs(5);
    pay(&neonomics).await.expect("created");
    assert_eq!(provider.seen().len(), 2);
}

#[tokio::test]
async fn an_expired_token_is_replaced_once_and_the_call_repeated_with_the_same_request_id() {
    let provider = FakeProvider::start([token(), json(401, TOKEN_EXPIRED), token(), json(201, CREATED)]).await;
    pay(&client(config(&provider.url)))
        .await
        .expect("the second try succeeds");
    let seen = provider.seen();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[1].header("x-request-id"), seen[3].header("x-request-id"));
    assert_eq!(seen[1].body, seen[3].body);
}

#[tokio::test]
async fn a_second_token_refusal_ends_it_as_not_sent() {
    let refusal = || json(401, TOKEN_EXPIRED);
    let provider = FakeProvider::start([token(), refusal(), token(), refusal(), token()]).await;
    let error = pay(&client(config(&provider.url))).await.expect_err("refused twice");
    assert_eq!(
        (error.class(), error.needs_ops(), provider.seen().len()),
        (Class::NotSent, true, 4)
    );
}

#[tokio::test]
async fn a_failed_token_call_means_that_no_payment_was_sent() {
    let provider = FakeProvider::start([json(503, "")]).await;
    let error = pay(&client(config(&provider.url))).await.expect_err("no token");
    assert_eq!(
        (error.class(), error.counts_for_breaker(), provider.seen().len()),
        (Class::NotSent, true, 1)
    );
}

/// How a hundred calls end that begin together without a token.
async fn a_hundred_calls(neonomics: Neonomics) -> Vec<Result<Option<String>, ProviderError>> {
    let neonomics = Arc::new(neonomics);
    let calls: Vec<_> = (0..100)
        .map(|number| {
            let neonomics = Arc::clone(&neonomics);
            tokio::spawn(async move {
                let payment = format!("p{number}");
                neonomics.payment_status("sepa", &payment, &context()).await
            })
        })
        .collect();
    let mut ended = Vec::new();
    for call in calls {
        ended.push(call.await.expect("no panic"));
    }
    ended
}

fn token_calls(provider: &FakeProvider) -> usize {
    let seen = provider.seen();
    seen.iter()
        .filter(|seen| seen.line().starts_with("POST /auth/token"))
        .count()
}

#[tokio::test]
async fn a_hundred_calls_that_miss_together_cause_one_token_call() {
    let status = || json(200, r#"{"transactionStatus":"ACCP"}"#);
    let answers = std::iter::once(token()).chain((0..100).map(|_| status()));
    let provider = FakeProvider::start(answers).await;
    let ended = a_hundred_calls(client(config(&provider.url))).await;
    assert!(ended.iter().all(Result::is_ok));
    assert_eq!((token_calls(&provider), provider.seen().len()), (1, 101));
}

#[tokio::test]
async fn a_hundred_calls_that_waited_for_a_token_call_that_failed_make_no_further_one() {
    // Whoever came after the failure asks anew; here all have come before it, because the provider takes its time.
    let provider = FakeProvider::start_slow([json(503, "")], Duration::from_millis(500)).await;
    let ended = a_hundred_calls(client(config(&provider.url))).await;
    let errors: Vec<_> = ended.into_iter().map(|ended| ended.expect_err("no token")).collect();
    assert!(
        errors
            .iter()
            .all(|error| error.class() == Class::NotSent && error.was_not_made())
    );
    assert_eq!(provider.seen().len(), 1);
    let counted = errors.iter().filter(|error| error.counts_for_breaker()).count();
    assert_eq!(counted, 1, "one call failed, so one failure is reported");
}

#[tokio::test]
async fn a_token_is_kept_until_half_a_minute_before_its_end() {
    let status = || json(200, r#"{"transactionStatus":"ACCP"}"#);
    let provider = FakeProvider::start([token(), status(), status(), token(), status()]).await;
    let neonomics = client(config(&provider.url));
    let read_after = async |seconds| {
        let context = CallContext {
            now: context().now + TimeDelta::seconds(seconds),
            ..context()
        };
        neonomics.payment_status("sepa", "p/1", &context).await.expect("read");
        token_calls(&provider)
    };
    assert_eq!(read_after(0).await, 1);
    assert_eq!(read_after(3_569).await, 1);
    assert_eq!(read_after(3_570).await, 2);
    let last = provider.seen().pop().expect("the last");
    assert_eq!(last.line(), "GET /v1/payments/p%2F1/status HTTP/1.1");
}

#[tokio::test]
async fn a_call_that_left_with_a_refused_token_is_not_called_unmade_when_there_is_no_other_token() {
    let provider = FakeProvider::start([token(), json(401, TOKEN_EXPIRED), json(503, "")]).await;
    let error = pay(&client(config(&provider.url))).await.expect_err("no token");
    assert_eq!((error.class(), error.counts_for_breaker()), (Class::NotSent, true));
    assert!(!error.never_left(), "{error}");
}
