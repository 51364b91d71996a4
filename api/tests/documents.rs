//! The published documents: what is committed, what the code says, and what is served are the same.
#![expect(clippy::unwrap_used, reason = "a test's own helpers fail the test")]

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use drop_api::{
    app::{self, Frame},
    client_address::TrustedProxies,
    error::Code,
    layers::BodyLimits,
    openapi,
    operations::operations,
    session::Sessions,
    state::{Shared, State},
    wait::RowWaiters,
};
use drop_common::{
    clock::Clock,
    config::{ApiSettings, Environment},
    keyring::Keyring,
    metrics::{Metrics, Process},
    queue::Wake,
    session_token::SessionTokens,
};
use poem::http::{Method, StatusCode, header};
use poem::{Endpoint, Request};
use poem_openapi::OpenApi;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use sqlx::postgres::PgPoolOptions;

const HERE: &str = "https://here.example";
const PROBLEM: &str = "application/problem+json";

/// What the operations share, over a database that is away: nothing listens at port 1.
fn state() -> State {
    let environment: Environment = [
        ("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"),
        ("DROP_PROFILE", "local"),
        ("DROP_PUBLIC_URL", HERE),
        (
            "DROP_SESSION_KEY",
            "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g",
        ),
        ("DROP_ENCRYPTION_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        ("BANKID_MOCK", "true"),
        ("BANKID_ISSUER", "http://127.0.0.1:1/bankid"),
        ("BANKID_CLIENT_ID", "drop"),
        ("SUMSUB_SECRET_KEY", "webhook-secret"),
    ]
    .into_iter()
    .collect();
    let settings = ApiSettings::read(&environment).unwrap();
    let key = settings.keys.session_key.expose_secret();
    State::new(Shared {
        db: PgPoolOptions::new()
            .connect_lazy(settings.database.url.expose_secret())
            .unwrap(),
        keys: Keyring::from_config(&settings.keys).unwrap(),
        clock: Clock::real(),
        wake: Wake::default(),
        waiters: RowWaiters::default(),
        tokens: Arc::new(SessionTokens::new(HERE, HERE, key, &[]).unwrap()),
        metrics: Arc::new(Metrics::new(Process::Api, "0.1.0", "unknown").unwrap()),
        proxies: TrustedProxies::default(),
        settings,
    })
}

/// Everything that the public listener serves.
fn served() -> impl Endpoint<Output = poem::Response> {
    let state = state();
    let frame = Frame {
        servers: vec![(HERE.to_owned(), "This service".to_owned())],
        sessions: Sessions {
            tokens: Arc::clone(&state.tokens),
            pool: state.db.clone(),
            metrics: Arc::clone(&state.metrics),
            clock: Arc::new(chrono::DateTime::default),
            https: true,
            origins: Arc::from([HERE.to_owned()]),
        },
        limits: BodyLimits::default(),
        metrics: Arc::clone(&state.metrics),
        public_docs: true,
    };
    app::assemble(operations(state), frame)
}

async fn get(app: &impl Endpoint<Output = poem::Response>, path: &str) -> poem::Response {
    let request = Request::builder().method(Method::GET).uri_str(path).finish();
    app.get_response(request).await
}

/// Every operation of the document with its method and path.
fn published(document: &Value) -> Vec<(String, &Map<String, Value>)> {
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            found.push((
                format!("{} {path}", method.to_uppercase()),
                operation.as_object().unwrap(),
            ));
        }
    }
    assert!(!found.is_empty());
    found
}

fn is_written(value: Option<&Value>) -> bool {
    value
        .and_then(Value::as_str)
        .is_some_and(|text| !text.trim().is_empty())
}

#[test]
fn the_committed_files_are_what_the_command_writes_without_any_configuration() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi");
    for (file, version, number) in [("drop-api.json", "3.1", "3.1.0"), ("drop-api-3.0.json", "3.0", "3.0.3")] {
        let written = Command::new(env!("CARGO_BIN_EXE_drop-api"))
            .args(["openapi", "--version", version])
            .env_clear()
            .output()
            .unwrap();
        assert!(written.status.success(), "{written:?}");
        let written = String::from_utf8(written.stdout).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&written).unwrap()["openapi"], number);
        let committed = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
        // Not `assert_eq`: it would print both whole.
        assert!(
            committed == written,
            "openapi/{file} is not what the code publishes. Write it anew and read the difference:\n  \
             cargo run -p drop-api -- openapi --version {version} > openapi/{file} && git diff openapi/{file}"
        );
    }
}

#[tokio::test]
async fn every_route_is_in_the_document_and_every_operation_of_the_document_is_a_route() {
    let mut table = HashMap::new();
    operations(state()).add_routes(&mut table);
    // The router knows where a parameter stands, not what it is called.
    let without_names = |route: String| {
        let segments = route.split('/').map(|segment| match segment.chars().next() {
            Some(':' | '{') => "{}",
            _ => segment,
        });
        segments.collect::<Vec<_>>().join("/")
    };
    let routes: BTreeSet<String> = table
        .iter()
        .flat_map(|(path, methods)| methods.keys().map(move |method| format!("{method} {path}")))
        .map(without_names)
        .collect();
    let documents = openapi::published();
    for document in [&documents.v31, &documents.v30] {
        let published = published(document).into_iter().map(|(route, _)| without_names(route));
        assert_eq!(routes, published.collect());
    }
}

#[tokio::test]
async fn the_served_documents_are_the_published_ones_at_this_services_own_address() {
    let app = served();
    let documents = openapi::published();
    for (path, mut published) in [("/openapi.json", documents.v31), ("/openapi-3.0.json", documents.v30)] {
        assert_eq!(published["servers"].as_array().unwrap().len(), 3);
        published["servers"] = json!([{ "url": HERE, "description": "This service" }]);
        let response = get(&app, path).await;
        assert_eq!(response.content_type(), Some("application/json"));
        let served: Value = serde_json::from_str(&response.into_body().into_string().await.unwrap()).unwrap();
        assert!(served == published, "{path} is not the published document");
    }
}

#[test]
fn every_operation_is_named_described_and_filed_under_one_chapter() {
    let document = openapi::published().v31;
    let chapters: Vec<&str> = document["tags"]
        .as_array()
        .unwrap()
        .iter()
        .inspect(|tag| assert!(is_written(tag.get("description")), "{tag}"))
        .map(|tag| tag["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        chapters,
        [
            "Auth",
            "Notifications",
            "Accounts",
            "Payments",
            "KYC",
            "Webhooks",
            "Health"
        ],
        "the reading order"
    );
    let (mut ids, mut used) = (HashSet::new(), HashSet::new());
    for (route, operation) in published(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id), "{id} is there twice");
        let camel = id.starts_with(|c: char| c.is_ascii_lowercase()) && id.chars().all(|c| c.is_ascii_alphanumeric());
        assert!(camel, "{id} is not camelCase");
        for text in ["summary", "description"] {
            assert!(is_written(operation.get(text)), "{route} has no {text}");
        }
        let tags = operation["tags"].as_array().unwrap();
        assert_eq!(tags.len(), 1, "{route}");
        let tag = tags[0].as_str().unwrap();
        assert!(chapters.contains(&tag), "{route} is in {tag}");
        used.insert(tag);
        for parameter in operation["parameters"].as_array().unwrap() {
            assert!(is_written(parameter.get("description")), "{route}: {parameter}");
            // The page to try it out on sends every example: one that may be left out would be sent each time.
            let shown = parameter.get("example").or_else(|| parameter["schema"].get("example"));
            assert_eq!(is_written(shown), parameter["required"] == true, "{route}: {parameter}");
        }
    }
    assert_eq!(used.len(), chapters.len(), "an empty chapter");
}

#[test]
fn security_is_written_out_and_public_is_only_what_a_caller_without_session_needs() {
    let document = openapi::published().v31;
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    let mut public = Vec::new();
    for (route, operation) in published(&document) {
        let ways = operation["security"].as_array().unwrap();
        for way in ways.iter().flat_map(|way| way.as_object().unwrap().keys()) {
            assert!(schemes.contains_key(way), "{route}: {way}");
        }
        if ways.is_empty() {
            public.push(route);
        } else {
            assert!(operation["responses"].get("401").is_some(), "{route}");
        }
    }
    assert_eq!(
        public,
        [
            "GET /.well-known/jwks.json",
            "GET /api/auth/bankid/callback",
            "GET /api/auth/bankid/login",
            "GET /api/auth/bankid/logins/{id}",
            "GET /api/consents/callback",
            "GET /api/payments/callback",
            "POST /v1/auth/bankid/logins",
            "POST /v1/auth/bankid/logins/{id}/redeem",
            "POST /v1/auth/logout",
            "POST /v1/auth/refresh",
            "GET /v1/health",
        ]
    );
}

#[test]
fn every_operation_can_succeed_and_every_error_is_a_problem() {
    let documents = openapi::published();
    for document in [&documents.v31, &documents.v30] {
        for (route, operation) in published(document) {
            let responses = operation["responses"].as_object().unwrap();
            // A login is started by a redirect and nothing else.
            let succeeds = |status: &str| status.starts_with('2') || status == "303";
            assert!(responses.keys().any(|status| succeeds(status)), "{route}");
            for always in ["500", "default"] {
                assert!(responses.contains_key(always), "{route} {always}");
            }
            let asks_the_database = route != "GET /.well-known/jwks.json";
            assert_eq!(responses.contains_key("503"), asks_the_database, "{route}");
            let is_webhook = route == "POST /v1/webhooks/sumsub";
            assert_eq!(responses.contains_key("429"), !is_webhook, "{route}");
            for status in ["429", "503"] {
                let come_again = |response: &Value| response["headers"].get("Retry-After").is_some();
                assert!(
                    responses.get(status).is_none_or(come_again),
                    "{route} {status} says no time"
                );
            }
            for (status, response) in responses {
                assert!(is_written(response.get("description")), "{route} {status}");
                let media: Vec<&String> = response["content"]
                    .as_object()
                    .into_iter()
                    .flat_map(Map::keys)
                    .collect();
                if succeeds(status) {
                    let known = if route.ends_with("/events") {
                        "text/event-stream"
                    } else {
                        "application/json"
                    };
                    assert!(media.iter().all(|media| *media == known), "{route} {status}");
                } else {
                    assert_eq!(media, [PROBLEM], "{route} {status}");
                    let schema = &response["content"][PROBLEM]["schema"]["$ref"];
                    assert_eq!(schema, "#/components/schemas/Problem", "{route} {status}");
                }
            }
        }
    }
}

#[test]
fn every_error_names_codes_of_its_own_status() {
    let document = openapi::published().v31;
    let mut named = HashSet::new();
    for (route, operation) in published(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let Some(status) = status.parse().ok().filter(|status: &StatusCode| status.as_u16() >= 400) else {
                continue;
            };
            let lines = response["description"].as_str().unwrap().lines();
            let codes: Vec<&str> = lines.map(|line| line.split('`').nth(1).unwrap_or_default()).collect();
            assert!(!codes.is_empty(), "{route} {status}");
            for name in codes {
                let code = Code::ALL.iter().find(|code| code.as_str() == name);
                assert_eq!(code.map(|code| code.status()), Some(status), "{route}: `{name}`");
                named.insert(name);
            }
        }
    }
    let unnamed: Vec<&str> = Code::ALL
        .iter()
        .map(|code| code.as_str())
        .filter(|code| !named.contains(code))
        .collect();
    // No operation's: the path has no such method.
    assert_eq!(unnamed, ["method_not_allowed"]);
}

#[test]
fn every_error_shows_an_example_for_each_of_its_codes_and_nothing_else() {
    let documents = openapi::published();
    for document in [&documents.v31, &documents.v30] {
        for (route, operation) in published(document) {
            for (status, response) in operation["responses"].as_object().unwrap() {
                if !status.starts_with(['4', '5']) {
                    continue;
                }
                let examples = response["content"][PROBLEM]["examples"].as_object().unwrap();
                let lines = response["description"].as_str().unwrap().lines();
                let described: BTreeSet<&str> = lines.filter_map(|line| line.split('`').nth(1)).collect();
                let shown: BTreeSet<&str> = examples.keys().map(String::as_str).collect();
                assert_eq!(described, shown, "{route} {status}");
                for (code, example) in examples {
                    let place = example["$ref"].as_str().unwrap().trim_start_matches('#');
                    let problem = &document.pointer(place).unwrap()["value"];
                    assert_eq!(problem["code"], *code, "{route} {status}");
                    assert_eq!(problem["status"].to_string(), *status, "{route} {code}");
                }
            }
        }
        let so_far = document["components"]["schemas"]["Problem"]["properties"]["code"]["x-extensible-enum"].as_array();
        assert!(so_far.unwrap().iter().eq(Code::ALL.iter().map(|code| code.as_str())));
    }
}

#[test]
fn a_link_leads_from_a_member_of_an_answer_to_an_operation_that_takes_it() {
    let document = openapi::published().v31;
    let operations = published(&document);
    let mut links = 0;
    for (route, operation) in &operations {
        for response in operation["responses"].as_object().unwrap().values() {
            let Some(found) = response.get("links") else { continue };
            let schema = response["content"]["application/json"]["schema"]["$ref"]
                .as_str()
                .unwrap();
            let schema = document.pointer(schema.trim_start_matches('#')).unwrap();
            for link in found.as_object().unwrap().values() {
                let target = operations
                    .iter()
                    .find(|(_, one)| one["operationId"] == link["operationId"]);
                let takes = target.unwrap().1["parameters"].as_array().unwrap();
                assert!(
                    takes.iter().any(|one| one["name"] == "id" && one["in"] == "path"),
                    "{route}: {link}"
                );
                let place = link["parameters"]["id"].as_str().unwrap();
                let mut shown = &schema["example"];
                for member in place.strip_prefix("$response.body#/").unwrap().split('/') {
                    shown = member.parse().map_or(&shown[member], |index: usize| &shown[index]);
                }
                assert!(shown.is_string(), "{route}: nothing is at {place} of its example");
                links += 1;
            }
        }
    }
    assert!(links > 10, "{links}");
}

#[test]
fn a_possible_duplicate_says_when_to_look_at_the_first_payment_again_and_no_other_conflict_does() {
    let documents = openapi::published();
    for document in [documents.v31, documents.v30] {
        for (route, operation) in published(&document) {
            let Some(conflict) = operation["responses"].get("409") else {
                continue;
            };
            let has = |header| conflict["headers"].get(header).is_some();
            let pays = route == "POST /v1/transactions";
            assert_eq!([has("Location"), has("Retry-After")], [pays; 2], "{route}");
            if pays {
                let meant = conflict["headers"]["Retry-After"]["description"].as_str().unwrap();
                assert!(meant.contains("another look, at `Location`"), "{meant}");
            }
        }
    }
}

#[test]
fn texts_are_described_as_long_as_they_are_taken() {
    let document = openapi::published().v31;
    let order = &document["components"]["schemas"]["NewTransaction"]["properties"];
    let [name, remittance] = ["creditorName", "remittanceInformation"].map(|member| &order[member]);
    assert_eq!(name["minLength"], 1);
    assert!(name["pattern"].as_str().unwrap().ends_with("]+$"));
    // Blank is the same as none.
    assert_eq!(remittance.get("minLength"), None);
    assert!(remittance["pattern"].as_str().unwrap().ends_with("]*$"));
}

#[test]
fn ids_have_their_form_and_the_words_that_are_listed_are_explained() {
    let document = openapi::published().v31;
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let (mut ids, mut words) = (0, 0);
    for (name, schema) in schemas {
        for (member, schema) in schema["properties"].as_object().into_iter().flatten() {
            let description = schema["description"].as_str().unwrap();
            if description.contains("_…`") {
                assert!(
                    schema["pattern"].as_str().unwrap().ends_with("_[0-9a-f]{32}$"),
                    "{name}.{member}"
                );
                ids += 1;
            }
            let listed = schema
                .get("x-extensible-enum")
                .filter(|_| (name.as_str(), member.as_str()) != ("Problem", "code"));
            for word in listed.and_then(Value::as_array).into_iter().flatten() {
                let word = format!("`{}`", word.as_str().unwrap());
                assert!(description.contains(&word), "{name}.{member}: {word}");
                words += 1;
            }
        }
    }
    assert!(ids > 10 && words > 40, "{ids} ids, {words} words");
    for (route, operation) in published(&document) {
        for parameter in operation["parameters"].as_array().unwrap() {
            if parameter["in"] == "path" {
                assert!(parameter["schema"]["pattern"].is_string(), "{route}");
            }
        }
    }
}

#[test]
fn every_object_shows_an_example_and_says_what_each_member_is() {
    let document = openapi::published().v31;
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(is_written(schema.get("description")), "{name}");
        // A choice between objects has no members of its own.
        if schema["type"] == "object" && schema.get("anyOf").is_none() {
            let example = schema["example"]
                .as_object()
                .unwrap_or_else(|| panic!("{name} has no example"));
            let members = schema["properties"].as_object().unwrap();
            for (member, schema) in members {
                assert!(is_written(schema.get("description")), "{name}.{member}");
            }
            for member in example.keys() {
                assert!(members.contains_key(member), "{name}: the example's {member}");
            }
        }
    }
}

#[tokio::test]
async fn the_pages_may_load_nothing_and_name_no_foreign_host_to_load_from() {
    let app = served();
    for path in ["/docs", "/docs/swagger"] {
        let page = get(&app, path).await;
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        let policy = page.header(header::CONTENT_SECURITY_POLICY).unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        // `data:` and the page's own text; a host, a scheme of the network or a wildcard would be another word.
        for directive in policy.split(';') {
            let sources = directive.split_whitespace().skip(1);
            let allowed = ["'none'", "'self'", "'unsafe-inline'", "data:"];
            let foreign: Vec<&str> = sources.filter(|source| !allowed.contains(source)).collect();
            assert!(foreign.is_empty(), "{path}: {directive}");
        }
        for closed in ["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(closed), "{path}: {closed}");
        }
        let html = page.into_body().into_string().await.unwrap();
        let markup = without_scripts_and_styles(&html);
        assert!(
            !markup.contains("://") && !markup.contains("src=") && !markup.contains("<link"),
            "{path}: {markup}"
        );
        assert_eq!(html.contains(r#""withDefaultFonts":false"#), path == "/docs", "{path}");
    }
}

/// What a browser reads before it runs anything; a script's opening tag stays, its text goes.
fn without_scripts_and_styles(html: &str) -> String {
    let mut markup = html.to_owned();
    for (open, close) in [("<script", "</script>"), ("<style", "</style>")] {
        let mut rest = std::mem::take(&mut markup);
        while let Some((before, from)) = rest.split_once(open) {
            let (tag, from) = from.split_once('>').unwrap();
            let (_, after) = from.split_once(close).unwrap();
            markup.push_str(before);
            markup.push_str(open);
            markup.push_str(tag);
            rest = after.to_owned();
        }
        markup.push_str(&rest);
    }
    markup
}
