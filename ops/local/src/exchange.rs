//! Requests as a careful client makes them: nothing is followed, everything is compared with what was expected.
use std::fmt;
use std::time::Duration;

use anyhow::Context;
use reqwest::header::{LOCATION, SET_COOKIE};
use reqwest::{RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;
use tokio::time::{Instant, interval};

/// How long background work may take until the person gives up.
const PATIENCE: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(200);

/// An answer that was as expected.
pub(crate) struct Seen {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// The JSON body; null when there is none.
    pub(crate) body: Value,
}

impl Seen {
    /// A member of the body, by its JSON pointer, that must be a text.
    pub(crate) fn text(&self, pointer: &str) -> anyhow::Result<&str> {
        let text = self.body.pointer(pointer).and_then(Value::as_str);
        text.with_context(|| format!("expected a text at {pointer} of the body, but there is none"))
    }
}

/// Asks again and again, a bounded time, until the answer is 200 and as wanted.
pub(crate) async fn until(
    what: &str,
    request: impl Fn() -> RequestBuilder,
    wanted: impl Fn(&Seen) -> bool,
) -> anyhow::Result<Seen> {
    let deadline = Instant::now() + PATIENCE;
    let mut tick = interval(ASK_EVERY);
    loop {
        tick.tick().await;
        let (seen, _) = expect(request(), &[StatusCode::OK, StatusCode::ACCEPTED]).await?;
        if seen.status == StatusCode::OK && wanted(&seen) {
            return Ok(seen);
        }
        if Instant::now() > deadline {
            let last = seen.body["status"].as_str().unwrap_or("unknown");
            let why = format!(
                "expected {what} within {PATIENCE:?}; the last answer was {}, status {last}",
                seen.status
            );
            return Err(Unexpected {
                status: seen.status,
                why,
            }
            .into());
        }
    }
}

/// The answer and its Location, if its status is one of these.
pub(crate) async fn expect(request: RequestBuilder, statuses: &[StatusCode]) -> anyhow::Result<(Seen, Option<String>)> {
    let answer = send(request).await?;
    let status = answer.status();
    if !statuses.contains(&status) {
        let wanted: Vec<_> = statuses.iter().map(StatusCode::as_str).collect();
        return Err(complaint(answer)
            .await
            .context(format!("expected {}", wanted.join(" or "))));
    }
    let place = answer
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .map(ToOwned::to_owned);
    let text = answer.text().await.context("the answer broke off")?;
    let body = if text.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&text).context("expected JSON")?
    };
    Ok((Seen { status, body }, place))
}

/// For an answer of which only the success counts.
pub(crate) async fn expect_success(request: RequestBuilder, whose: &str) -> anyhow::Result<()> {
    let answer = send(request).await?;
    if answer.status().is_success() {
        Ok(())
    } else {
        Err(complaint(answer).await.context(format!("expected success of {whose}")))
    }
}

/// The answer, if it is a redirect by 303.
pub(crate) async fn redirected(request: RequestBuilder, whose: &str) -> anyhow::Result<Response> {
    let answer = send(request).await?;
    if answer.status() == StatusCode::SEE_OTHER {
        Ok(answer)
    } else {
        Err(complaint(answer)
            .await
            .context(format!("expected a redirect (303) of {whose}")))
    }
}

/// The address is left out of errors: in a login it holds the code and the state.
pub(crate) async fn send(request: RequestBuilder) -> anyhow::Result<Response> {
    request
        .send()
        .await
        .map_err(|error| anyhow::Error::new(error.without_url()).context("there was no answer"))
}

/// An answer that was not as expected.
#[derive(Debug)]
pub(crate) struct Unexpected {
    /// The HTTP status.
    pub(crate) status: StatusCode,
    /// Why, in words that hold no personal data.
    why: String,
}

impl fmt::Display for Unexpected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Unexpected {}

/// What came instead: the status and, of a problem, the parts that hold no personal data.
pub(crate) async fn complaint(answer: Response) -> anyhow::Error {
    let (path, status) = (answer.url().path().to_owned(), answer.status());
    let body: Value = answer.json().await.unwrap_or_default();
    let part = |name: &str| Some(format!(", {name}: {}", body[name].as_str()?));
    let problem: String = ["code", "detail", "request_id"].into_iter().filter_map(part).collect();
    let why = format!("{path} answered {status}{problem}");
    Unexpected { status, why }.into()
}

/// Where an answer points to, made absolute.
pub(crate) fn location(answer: &Response) -> anyhow::Result<Url> {
    let place = answer
        .headers()
        .get(LOCATION)
        .context("expected a Location beside the redirect")?;
    let place = place.to_str().context("the Location is no text")?;
    answer.url().join(place).context("the Location is no address")
}

/// Every cookie that was set, as the browser sends them back: without their attributes.
pub(crate) fn cookies(answer: &Response) -> String {
    let set = answer
        .headers()
        .get_all(SET_COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let pairs: Vec<_> = set
        .filter_map(|cookie| cookie.split(';').next())
        .map(str::trim)
        .collect();
    pairs.join("; ")
}
