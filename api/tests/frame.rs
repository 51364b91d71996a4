//! What surrounds every operation, seen through HTTP.
#![expect(clippy::unwrap_used, reason = "a test's own helpers fail the test")]

use std::future::{pending, ready};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use drop_api::app::{self, Frame};
use drop_api::error::{ApiError, Code};
use drop_api::health::{Chapter, HealthApi};
use drop_api::layers::{BodyLimits, SMALL};
use drop_api::session::{Session, Sessions};
use drop_api::signed_json::SignedJson;
use drop_api::text::Text;
use drop_common::metrics::{HTTP_IN_FLIGHT, HTTP_REQUESTS, Metrics, Process, SUMSUB_WEBHOOK_FAILURES};
use drop_common::session_token::SessionTokens;
use futures_util::{StreamExt as _, stream};
use poem::endpoint::BoxEndpoint;
use poem::http::{Method, StatusCode, header};
use poem::{Body, Endpoint, Request, Response};
use poem_openapi::payload::{Json, PlainText};
use poem_openapi::{Object, OpenApi};
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

/// Stands for the operations.
struct Sample;

#[derive(Debug, Object)]
struct Order {
    /// Who gets it.
    #[oai(validator(max_length = 5))]
    name: Text,
}

#[expect(clippy::unused_async, reason = "the framework's operations are async")]
#[OpenApi]
impl Sample {
    /// Take an order.
    #[oai(
        path = "/v1/orders",
        method = "post",
        operation_id = "createOrder",
        tag = "Chapter::Payments"
    )]
    async fn order(&self, order: Json<Order>) -> Result<PlainText<String>, ApiError> {
        Ok(PlainText(order.0.name.into_string()))
    }

    /// Break.
    #[oai(
        path = "/v1/orders/:id/break",
        method = "get",
        operation_id = "breakOrder",
        tag = "Chapter::Payments"
    )]
    async fn broken(&self, id: poem_openapi::param::Path<String>) -> Result<PlainText<String>, ApiError> {
        panic!("the account NO9386011117947 of {}", id.0)
    }

    /// Refuse.
    #[oai(
        path = "/v1/refused",
        method = "get",
        operation_id = "refuse",
        tag = "Chapter::Payments"
    )]
    async fn refused(&self) -> Result<PlainText<String>, ApiError> {
        Err(ApiError::circuit_open_at("/v1/transactions/tx_1".to_owned(), 17))
    }

    /// Say who asks.
    #[oai(path = "/v1/me", method = "post", operation_id = "whoAmI", tag = "Chapter::Auth")]
    async fn me(&self, session: Session) -> Result<PlainText<String>, ApiError> {
        Ok(PlainText(session.user.to_string()))
    }

    /// Take a signed event.
    #[oai(
        path = "/v1/webhooks/sample",
        method = "post",
        operation_id = "takeEvent",
        tag = "Chapter::Webhooks"
    )]
    async fn event(&self, event: SignedJson<Order>) -> Result<PlainText<String>, ApiError> {
        let event = event.verified(|bytes| bytes.starts_with(b"{"))?;
        let order: Value = serde_json::from_slice(&event.into_bytes()).unwrap_or_default();
        Ok(PlainText(order["name"].as_str().unwrap_or("unreadable").to_owned()))
    }
}

struct World {
    app: BoxEndpoint<'static>,
    metrics: Arc<Metrics>,
    tokens: Arc<SessionTokens>,
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_900_000_000, 0).unwrap()
}

/// The frame around the sample.
fn world() -> World {
    world_with(BodyLimits::default())
}

/// The same with other limits. Nothing listens at port 1: it stands for a database that is away.
fn world_with(limits: BodyLimits) -> World {
    let pool = PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(200))
        .connect_lazy("postgres://nobody@127.0.0.1:1/none")
        .unwrap();
    let metrics = Arc::new(Metrics::new(Process::Api, "0.1.0", "unknown").unwrap());
    // An Ed25519 key in PKCS#8: a fixed prefix and a seed.
    let mut key = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    key.extend([7; 32]);
    let tokens = Arc::new(SessionTokens::new("https://api.drop.example", "drop", &key, &[]).unwrap());
    let sessions = Sessions {
        tokens: Arc::clone(&tokens),
        pool: pool.clone(),
        metrics: Arc::clone(&metrics),
        clock: Arc::new(now),
        https: true,
        origins: Arc::new(["https://drop.example".to_owned()]),
    };
    let frame = Frame {
        servers: vec![("https://api.drop.example".to_owned(), "Production".to_owned())],
        sessions,
        limits,
        metrics: Arc::clone(&metrics),
        public_docs: true,
    };
    World {
        app: app::assemble((Sample, HealthApi::new(pool)), frame),
        metrics,
        tokens,
    }
}

fn request(method: Method, path: &str) -> poem::RequestBuilder {
    Request::builder().method(method).uri_str(path)
}

fn post_json(path: &str, body: impl Into<Body>) -> Request {
    request(Method::POST, path).content_type("application/json").body(body)
}

async fn text(response: Response) -> String {
    response.into_body().into_string().await.unwrap()
}

/// Checks the shape that every error has, and gives its code.
async fn code_of(response: Response) -> String {
    assert_eq!(response.content_type(), Some("application/problem+json"));
    let status = response.status().as_u16();
    let id = response.header("x-request-id").unwrap().to_owned();
    let problem: Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["request_id"], id.as_str());
    assert!(problem["errors"].is_array() && problem["title"].is_string() && problem["detail"].is_string());
    problem["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_error_of_the_framework_is_a_problem() {
    let app = world().app;
    let large = vec![b' '; 64 * 1024 + 1];
    for (request, status, code) in [
        (request(Method::GET, "/v1/nothing").finish(), 404, "not_found"),
        (
            request(Method::DELETE, "/v1/orders").finish(),
            405,
            "method_not_allowed",
        ),
        (post_json("/v1/orders", large.clone()), 413, "payload_too_large"),
        (
            request(Method::POST, "/v1/orders").content_type("text/plain").body("x"),
            415,
            "unsupported_media_type",
        ),
        (
            request(Method::POST, "/v1/orders").body("{}"),
            415,
            "unsupported_media_type",
        ),
        (post_json("/v1/orders", "{"), 400, "bad_request"),
        (post_json("/v1/orders", "{}"), 422, "validation_failed"),
        (
            request(Method::GET, "/v1/orders/1/break").finish(),
            500,
            "internal_error",
        ),
        (request(Method::POST, "/v1/me").finish(), 401, "unauthenticated"),
        (request(Method::GET, "/v1/health").finish(), 503, "unavailable"),
    ] {
        let response = app.get_response(request).await;
        assert_eq!(response.status().as_u16(), status, "{code}");
        assert_eq!(code_of(response).await, code);
    }
}

#[tokio::test]
async fn a_body_without_a_declared_length_is_limited_too() {
    let pieces = futures_util::stream::iter((0..65).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1024])));
    let response = world()
        .app
        .get_response(post_json("/v1/orders", Body::from_bytes_stream(pieces)))
        .await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

/// The body of an event of which so much has arrived; its end comes when that is over.
fn arriving(bytes: usize, over: impl Future<Output = ()> + Send + 'static) -> Body {
    let begun = format!("{{\"name\":\"Anna\",\"padding\":\"{}", "x".repeat(bytes));
    let end = stream::once(async move {
        over.await;
        Ok("\"}".to_owned())
    });
    Body::from_bytes_stream(stream::once(async { Ok::<_, io::Error>(begun) }).chain(end))
}

#[tokio::test]
async fn bodies_on_their_way_hold_so_much_memory_and_keep_no_small_one_out() {
    let app = world_with(BodyLimits {
        room: 100 * 1024,
        ..BodyLimits::default()
    })
    .app;
    let sends = |body| Box::pin(app.get_response(post_json("/v1/webhooks/sample", body)));
    let waits = async |sent: &mut _| timeout(Duration::from_millis(10), sent).await.is_err();
    let large = SMALL + 45 * 1024;
    let (ends, ended) = oneshot::channel();
    let mut first = sends(arriving(large, async { ended.await.unwrap() }));
    let mut second = sends(arriving(large, pending()));
    assert!(waits(&mut first).await && waits(&mut second).await);

    let refused = sends(arriving(large, pending())).await;
    assert_eq!(
        (refused.status(), refused.header("retry-after")),
        (StatusCode::SERVICE_UNAVAILABLE, Some("5"))
    );
    assert_eq!(code_of(refused).await, "overloaded");
    assert_eq!(text(sends(arriving(15 * 1024, ready(()))).await).await, "Anna");

    // One that has its answer makes room, and so does one whose sender goes away.
    ends.send(()).unwrap();
    assert_eq!(text(first.await).await, "Anna");
    drop(second);
    let mut others = [sends(arriving(large, pending())), sends(arriving(large, pending()))];
    for other in &mut others {
        assert!(waits(other).await);
    }
}

#[tokio::test]
async fn a_webhook_whose_body_finds_no_room_or_does_not_arrive_is_counted_and_no_other_request() {
    let world = world_with(BodyLimits {
        room: 10 * 1024,
        patience: Duration::from_millis(50),
        ..BodyLimits::default()
    });
    for (path, counted) in [("/v1/orders", None), ("/v1/webhooks/sample", Some(2.0))] {
        for (bytes, answer) in [
            (SMALL + 20 * 1024, StatusCode::SERVICE_UNAVAILABLE),
            (1024, StatusCode::REQUEST_TIMEOUT),
        ] {
            let request = post_json(path, arriving(bytes, pending()));
            assert_eq!(world.app.get_response(request).await.status(), answer, "{path}");
        }
        let failures = world.metrics.value(&SUMSUB_WEBHOOK_FAILURES, &["overloaded"]);
        assert_eq!(failures.filter(|failures| *failures > 0.0), counted, "{path}");
    }
}

#[tokio::test]
async fn a_compressed_body_is_refused() {
    let request = request(Method::POST, "/v1/orders")
        .content_type("application/json")
        .header("content-encoding", "gzip")
        .body("x");
    assert_eq!(
        world().app.get_response(request).await.status(),
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
}

#[tokio::test]
async fn a_body_that_says_it_is_not_compressed_is_taken() {
    for (encodings, refused) in [
        (&["identity"][..], false),
        (&["Identity"], false),
        (&["identity", "gzip"], true),
        (&["identity, gzip"], true),
    ] {
        let mut request = request(Method::POST, "/v1/orders").content_type("application/json");
        for encoding in encodings {
            request = request.header("content-encoding", *encoding);
        }
        let status = world().app.get_response(request.body("x")).await.status();
        assert_eq!(status == StatusCode::UNSUPPORTED_MEDIA_TYPE, refused, "{encodings:?}");
    }
}

#[tokio::test]
async fn a_405_names_the_methods_of_the_path() {
    let response = world()
        .app
        .get_response(request(Method::PUT, "/v1/orders").finish())
        .await;
    assert_eq!(response.header(header::ALLOW), Some("POST"));
    let page = world().app.get_response(request(Method::POST, "/docs").finish()).await;
    assert_eq!(page.header(header::ALLOW), Some("GET, HEAD"));
}

#[tokio::test]
async fn a_request_id_is_kept_when_it_is_a_uuid_and_replaced_otherwise() {
    let app = world().app;
    let ours = Uuid::now_v7().to_string();
    let kept = app
        .get_response(
            request(Method::GET, "/v1/nothing")
                .header("x-request-id", &ours)
                .finish(),
        )
        .await;
    assert_eq!(kept.header("x-request-id"), Some(ours.as_str()));
    let replaced = app
        .get_response(
            request(Method::GET, "/v1/nothing")
                .header("x-request-id", "a'b")
                .finish(),
        )
        .await;
    assert!(Uuid::try_parse(replaced.header("x-request-id").unwrap()).is_ok());
}

#[tokio::test]
async fn a_panic_says_nothing_of_what_it_was_about() {
    let response = world()
        .app
        .get_response(request(Method::GET, "/v1/orders/1/break").finish())
        .await;
    assert!(!text(response).await.contains("NO9386011117947"));
}

#[tokio::test]
async fn a_string_field_takes_no_number_and_the_value_is_not_repeated() {
    let app = world().app;
    assert_eq!(
        text(app.get_response(post_json("/v1/orders", r#"{"name":"12345"}"#)).await).await,
        "12345"
    );
    for body in [
        r#"{"name":12345}"#,
        r#"{"name":true}"#,
        r#"{"name":null}"#,
        r#"{"name":"123456"}"#,
    ] {
        let response = app.get_response(post_json("/v1/orders", body)).await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert!(!text(response).await.contains("12345"));
    }
    let too_long = text(app.get_response(post_json("/v1/orders", r#"{"name":"123456"}"#)).await).await;
    assert!(too_long.contains(r#""field":"name""#), "{too_long}");
}

#[tokio::test]
async fn an_error_of_an_operation_keeps_its_headers() {
    let response = world()
        .app
        .get_response(request(Method::GET, "/v1/refused").finish())
        .await;
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(response.header("retry-after"), Some("17"));
    assert_eq!(response.header("location"), Some("/v1/transactions/tx_1"));
    assert_eq!(code_of(response).await, "circuit_open");
}

#[tokio::test]
async fn a_webhook_is_judged_by_its_bytes_before_anything_is_parsed() {
    let app = world().app;
    let path = "/v1/webhooks/sample";
    let wrong = app.get_response(request(Method::POST, path).body("not json")).await;
    assert_eq!(code_of(wrong).await, "invalid_signature");
    let unreadable = app.get_response(post_json(path, r#"{"name":7}"#)).await;
    assert_eq!(text(unreadable).await, "unreadable");
    let large = format!(r#"{{"name":"Anna","more":"{}"}}"#, "x".repeat(200 * 1024));
    assert_eq!(text(app.get_response(post_json(path, large)).await).await, "Anna");
}

#[tokio::test]
async fn the_session_cookie_changes_nothing_for_a_foreign_page() {
    let world = world();
    let token = world.tokens.issue(Uuid::nil(), Uuid::nil(), Uuid::nil(), now());
    let cookie = format!("__Host-drop_session={}", token.expose_secret());
    let ask = |name: &'static str, value: &'static str| {
        let request = request(Method::POST, "/v1/me")
            .header("cookie", &cookie)
            .header(name, value)
            .finish();
        world.app.get_response(request)
    };
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "https://evil.drop.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "none"),
        ("accept", "neither of the two is there"),
    ] {
        assert_eq!(
            ask(name, value).await.status(),
            StatusCode::FORBIDDEN,
            "{name}: {value}"
        );
    }
    // Past the check, the row is looked up, and here the database is away: never a session without its row.
    for (name, value) in [("origin", "https://drop.example"), ("sec-fetch-site", "same-origin")] {
        let answer = ask(name, value).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{name}: {value}");
    }
    let bearer = format!("Bearer {}", token.expose_secret());
    let request = request(Method::POST, "/v1/me").header("authorization", bearer).finish();
    assert_eq!(
        world.app.get_response(request).await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn a_cookie_that_a_neighbour_planted_under_a_name_like_the_sessions_is_no_session() {
    let world = world();
    let token = world.tokens.issue(Uuid::nil(), Uuid::nil(), Uuid::nil(), now());
    // A browser guards the prefix in these letters only; a server must not read it out of others.
    for name in [
        "%5F%5FHost-drop_session",
        "__Host%2Ddrop_session",
        "__host-drop_session",
    ] {
        let request = request(Method::POST, "/v1/me")
            .header("cookie", format!("{name}={}", token.expose_secret()))
            .header("origin", "https://drop.example");
        let response = world.app.get_response(request.finish()).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{name}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_ours_never_reaches_the_database() {
    let world = world();
    for value in ["Bearer x.y.z", "Basic YTpi", "Bearer", ""] {
        let request = request(Method::POST, "/v1/me").header("authorization", value).finish();
        let response = world.app.get_response(request).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{value}");
        assert_eq!(response.header(header::WWW_AUTHENTICATE), Some("Bearer"));
    }
}

#[tokio::test]
async fn answers_are_counted_by_pattern_from_zero() {
    let world = world();
    let labels = ["GET", "/v1/orders/{id}/break", "read", "500"];
    assert_eq!(world.metrics.value(&HTTP_REQUESTS, &labels), Some(0.0));
    world
        .app
        .get_response(request(Method::GET, "/v1/orders/of-somebody/break").finish())
        .await;
    world
        .app
        .get_response(request(Method::GET, "/admin.php").finish())
        .await;
    assert_eq!(world.metrics.value(&HTTP_REQUESTS, &labels), Some(1.0));
    assert_eq!(
        world.metrics.value(&HTTP_REQUESTS, &["GET", "other", "none", "404"]),
        Some(1.0)
    );
    assert_eq!(world.metrics.value(&HTTP_IN_FLIGHT, &[]), Some(0.0));
    let rendered = world.metrics.render().unwrap();
    assert!(!rendered.contains("of-somebody") && !rendered.contains("admin.php"));
}

#[tokio::test]
async fn nothing_is_cached_and_the_pages_load_nothing_from_elsewhere() {
    let app = world().app;
    let answer = app.get_response(request(Method::GET, "/v1/refused").finish()).await;
    assert_eq!(answer.header(header::CACHE_CONTROL), Some("no-store"));
    for path in ["/docs", "/docs/swagger"] {
        let page = app.get_response(request(Method::GET, path).finish()).await;
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        assert!(
            page.header(header::CONTENT_SECURITY_POLICY)
                .unwrap()
                .starts_with("default-src 'none'; script-src")
        );
        let html = text(page).await;
        assert!(
            html.contains(r#""openapi":"3.1.0""#) && !html.contains(r#""openapi":"3.0.0""#),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_documents_are_complete() {
    let app = world().app;
    for (path, version) in [("/openapi.json", "3.1.0"), ("/openapi-3.0.json", "3.0.3")] {
        let document = text(app.get_response(request(Method::GET, path).finish()).await).await;
        assert!(
            !document.contains("null,") && !document.contains("charset="),
            "{document}"
        );
        let document: Value = serde_json::from_str(&document).unwrap();
        assert!(!has_null(&document));
        assert_eq!(document["openapi"], version);
        assert_eq!(
            document["components"]["securitySchemes"]["SessionCookie"]["name"],
            "__Host-drop_session"
        );
        let paths = document["paths"].as_object().unwrap();
        for (path, operation) in paths.iter().flat_map(|(path, methods)| {
            methods
                .as_object()
                .unwrap()
                .values()
                .map(move |operation| (path, operation))
        }) {
            assert!(operation["operationId"].is_string(), "{path}");
            assert!(operation["summary"].is_string(), "{path}");
            assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{path}");
            assert!(operation["security"].is_array(), "{path}");
            // A webhook's sender is told to slow down by nobody.
            let limited = (!path.starts_with("/v1/webhooks/")).then_some("429");
            for status in ["500", "default"].into_iter().chain(limited) {
                let content = &operation["responses"][status]["content"]["application/problem+json"];
                assert_eq!(
                    content["schema"]["$ref"], "#/components/schemas/Problem",
                    "{path} {status}"
                );
            }
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(
                    response["description"].as_str().is_some_and(|text| !text.is_empty()),
                    "{path} {status}"
                );
            }
        }
        assert_eq!(paths["/v1/health"]["get"]["security"], serde_json::json!([]));
        assert_eq!(paths["/v1/me"]["post"]["security"].as_array().unwrap().len(), 2);
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(members) => members.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[test]
fn codes_are_unique_and_give_their_status() {
    let mut seen = std::collections::HashSet::new();
    for code in Code::ALL {
        assert!(seen.insert(code.as_str()), "{}", code.as_str());
        assert!(!code.title().is_empty() && !code.detail().is_empty());
        assert!(code.status().is_client_error() || code.status().is_server_error());
    }
}
