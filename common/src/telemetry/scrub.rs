//! What may leave in a report. Nothing of a person should get here, for nothing of one is logged; what looks like it is taken
//! out all the same. A name looks like any other word: nothing here would take it out.

use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

use regex::Regex;
use sentry::{
    Envelope,
    protocol::{Context, EnvelopeItem, Event, Exception, Span, Transaction, Value},
};

/// What else an event may say, by the SDK's names: which trace it belongs to, the fields of its line, and where that was
/// written.
const CONTEXTS: [&str; 3] = ["trace", "Rust Tracing Fields", "Rust Tracing Location"];

/// The event anew, of what is named here: no request, user, breadcrumb, stack or machine gets into it, whoever adds one.
pub(super) fn scrubbed(event: Event<'static>) -> Event<'static> {
    let exceptions = event.exception.into_iter().map(|exception| Exception {
        ty: clean(&exception.ty).into_owned(),
        value: exception.value.as_deref().map(clean).map(Cow::into_owned),
        ..Exception::default()
    });
    Event {
        event_id: event.event_id,
        level: event.level,
        fingerprint: event.fingerprint,
        timestamp: event.timestamp,
        platform: event.platform,
        release: event.release,
        environment: event.environment,
        sdk: event.sdk,
        logger: event.logger,
        message: event.message.as_deref().map(clean).map(Cow::into_owned),
        exception: exceptions.collect::<Vec<_>>().into(),
        tags: clean_tags(event.tags),
        contexts: clean_contexts(event.contexts),
        ..Event::default()
    }
}

/// The envelope anew, of events and of transactions that say nothing but what is named here.
pub(super) fn scrubbed_envelope(envelope: Envelope) -> Envelope {
    let mut anew = Envelope::new().with_headers(envelope.headers().clone());
    for item in envelope.into_items() {
        match item {
            EnvelopeItem::Transaction(timed) => anew.add_item(scrubbed_transaction(*timed)),
            // Was scrubbed on its way here.
            EnvelopeItem::Event(event) => anew.add_item(*event),
            EnvelopeItem::ClientReport(report) => anew.add_item(report),
            _ => {}
        }
    }
    anew
}

fn scrubbed_transaction(timed: Transaction<'static>) -> Transaction<'static> {
    let spans = timed.spans.into_iter().map(|span| Span {
        description: span.description.as_deref().map(clean).map(Cow::into_owned),
        tags: clean_tags(span.tags),
        data: BTreeMap::new(),
        ..span
    });
    Transaction {
        event_id: timed.event_id,
        name: timed.name.as_deref().map(clean).map(Cow::into_owned),
        release: timed.release,
        environment: timed.environment,
        tags: clean_tags(timed.tags),
        sdk: timed.sdk,
        platform: timed.platform,
        timestamp: timed.timestamp,
        start_timestamp: timed.start_timestamp,
        spans: spans.collect(),
        contexts: clean_contexts(timed.contexts),
        ..Transaction::default()
    }
}

fn clean_tags(tags: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let tags = tags.into_iter();
    tags.map(|(name, text)| (name, clean(&text).into_owned())).collect()
}

fn clean_contexts(contexts: BTreeMap<String, Context>) -> BTreeMap<String, Context> {
    let contexts = contexts.into_iter();
    contexts
        .filter(|(name, _)| CONTEXTS.contains(&name.as_str()))
        .map(|(name, context)| (name, clean_context(context)))
        .collect()
}

fn clean_context(context: Context) -> Context {
    match context {
        Context::Other(fields) => Context::Other(clean_fields(fields)),
        ids => ids,
    }
}

fn clean_fields(fields: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    fields
        .into_iter()
        .map(|(name, value)| (name, clean_value(value)))
        .collect()
}

fn clean_value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(&text).into_owned()),
        Value::Number(number) => match clean(&number.to_string()) {
            Cow::Borrowed(_) => Value::Number(number),
            Cow::Owned(instead) => Value::String(instead),
        },
        Value::Array(values) => values.into_iter().map(clean_value).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, clean_value(value)))
            .collect(),
        plain @ (Value::Null | Value::Bool(_)) => plain,
    }
}

/// Tokens, credentials, e-mail addresses, telephone and account numbers, IBANs, national ids, and what follows the question mark
/// of an address.
static PERSONAL: LazyLock<Regex> = LazyLock::new(|| {
    let kinds = [
        r"eyJ[\w-]{5,}[\w.-]*",
        r"(?i:\b(?:bearer|basic))\s+\S+",
        r"://[^/\s@]+@",
        // Of a form, an address or a cookie, and a member of JSON.
        r"(?i:[\w-]*(?:code|state|token|secret|password|verifier|nonce|signature|session))=[^\s&;,]+",
        r#"(?i:"[\w-]*(?:code|state|token|secret|password|verifier|nonce|signature|session))"\s*:\s*"[^"]*""#,
        r"[\w.%+-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+",
        // In these an edge is one of ASCII, or a letter with an accent in front of a number would hide it. A name may end in
        // an underscore before one.
        r"(?-u:(?:\b|_)[A-Z]{2}\d{2}(?:[ .-]?[A-Z0-9]){11,30}(?:\b|_))",
        r"(?i-u:(?:\b|_)no\d{2}(?:[ .-]?\d){11}(?:\b|_))",
        r"(?-u:(?:\b|_)\d{6}[ -]?\d{5}(?:\b|_))",
        r"(?-u:(?:\b|_)\d{2}[ .]\d{2}[ .]\d{2}[ .-]?\d{3} ?\d{2}(?:\b|_))",
        r"(?-u:(?:\b|_)\d{4}[ .]\d{2}[ .]\d{5}(?:\b|_))",
        r"(?-u:(?:\b|_)\d{3}-\d{5,13}-\d{2}(?:\b|_))",
        r"(?-u:\+\d(?: ?\d){8,13}\b)",
        r"\?[\w.%-]+=\S*",
    ];
    Regex::new(&kinds.join("|")).expect("a constant expression")
});

/// Whether something in the text looks like a person's.
pub fn is_personal(text: &str) -> bool {
    PERSONAL.is_match(text)
}

fn clean(text: &str) -> Cow<'_, str> {
    PERSONAL.replace_all(text, "(withheld)")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use sentry::protocol::{Breadcrumb, Request, User};

    use super::*;

    #[rstest]
    fn what_looks_like_a_persons_is_taken_out(
        #[values(
            "13897249477",
            "138972 49477",
            "HR1210010051863000160",
            "NO93 8601 1117 947",
            "8601.11.17947",
            "265-1234567-89",
            "anna.hansen+drop@example.co.uk",
            "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
            "Bearer 0f1e2d3c",
            "?code=abc&state=def",
            "code=0f1e2d3c",
            "bankid_state=0f1e2d3c",
            "refresh_token=0f1e2d3c",
            "\"client_secret\": \"0f1e 2d3c\"",
            "Basic ZHJvcDpzZWNyZXQ=",
            "://drop:secret@",
            "anna.hansen%40example.no",
            "id_13897249477",
            "13 89 72 49477",
            "no9386011117947",
            "NO93-8601-1117-947",
            "+47 912 34 567",
            "token_eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"
        )]
        canary: &str,
    ) {
        for text in [canary.to_owned(), format!("it says {canary}, twice: {canary}")] {
            assert!(!clean(&text).contains(canary), "{}", clean(&text));
        }
    }

    #[rstest]
    fn what_is_ours_stays(
        #[values(
            "tx_019a8c5e7d1f7c3a9b520f6d3e8a4c11, needs review",
            "request 019a8c5e-7d1f-7c3a-9b52-0f6d3e8a4c11",
            "job 4711 (poll-payment) is dead",
            "neonomics/pisp",
            "database error 23505 (transactions_pkey)",
            "the API is up at http://127.0.0.1:8080/v1/health",
            "neonomics/pisp, open since 2026-11-30T17:50:00Z",
            "2026-11-30T17:50:00.123456Z"
        )]
        text: &str,
    ) {
        assert_eq!(clean(text), text);
    }

    proptest! {
        #[test]
        fn no_national_id_is_left_whatever_stands_around_it(before in "[^0-9A-Za-z_]{0,8}", number in "[0-9]{11}", after in "[^0-9A-Za-z_]{0,8}") {
            let text = format!("{before}{number}{after}");
            prop_assert!(!clean(&text).contains(&number));
        }

        #[test]
        fn a_uuid_stays_whole(bits in any::<u128>()) {
            let text = format!("request {} ended", uuid::Uuid::from_u128(bits));
            prop_assert_eq!(clean(&text), &*text);
        }
    }

    const CANARY: &str = "13897249477";

    #[test]
    fn a_transaction_leaves_like_an_event() {
        let tags = || {
            BTreeMap::from([
                ("tag".to_owned(), CANARY.to_owned()),
                ("job.id".to_owned(), "7".to_owned()),
            ])
        };
        let data = || BTreeMap::from([("data".to_owned(), Value::from(CANARY))]);
        let span = Span {
            description: Some(format!("bankid token {CANARY}")),
            tags: tags(),
            data: data(),
            ..Span::default()
        };
        let timed = Transaction {
            name: Some(format!("GET /v1/users/{CANARY}")),
            user: Some(User {
                id: Some(CANARY.to_owned()),
                ..User::default()
            }),
            tags: tags(),
            extra: data(),
            spans: vec![span],
            contexts: BTreeMap::from([("device".to_owned(), Context::Other(data()))]),
            request: Some(Request {
                query_string: Some(CANARY.to_owned()),
                ..Request::default()
            }),
            server_name: Some("host".into()),
            ..Transaction::default()
        };
        let mut sent = Vec::new();
        scrubbed_envelope(Envelope::from(timed)).to_writer(&mut sent).unwrap();
        let sent = String::from_utf8(sent).unwrap();
        assert!(!sent.contains(CANARY) && !sent.contains("host"), "{sent}");
        for kept in [
            "bankid token (withheld)",
            "GET /v1/users/(withheld)",
            "\"job.id\":\"7\"",
        ] {
            assert!(sent.contains(kept), "{kept}: {sent}");
        }
    }

    #[test]
    fn an_event_leaves_without_what_nobody_named_here() {
        let field = |name: &str| BTreeMap::from([(name.to_owned(), Value::from(CANARY))]);
        let (request, user, breadcrumb) = (
            Request {
                data: Some(CANARY.to_owned()),
                cookies: Some(CANARY.to_owned()),
                query_string: Some(CANARY.to_owned()),
                headers: BTreeMap::from([("authorization".to_owned(), CANARY.to_owned())]),
                ..Request::default()
            },
            User {
                id: Some(CANARY.to_owned()),
                ..User::default()
            },
            Breadcrumb {
                message: Some(CANARY.to_owned()),
                data: field("body"),
                ..Breadcrumb::default()
            },
        );
        let exception = Exception {
            ty: "ProviderError".to_owned(),
            value: Some(format!("about {CANARY}")),
            ..Exception::default()
        };
        let event = Event {
            message: Some(format!("a line about {CANARY}")),
            request: Some(request),
            user: Some(user),
            breadcrumbs: vec![breadcrumb].into(),
            exception: vec![exception].into(),
            tags: BTreeMap::from([
                ("job.id".to_owned(), "7".to_owned()),
                ("t".to_owned(), CANARY.to_owned()),
            ]),
            extra: field("extra"),
            contexts: BTreeMap::from([
                ("Rust Tracing Fields".to_owned(), Context::Other(field("error"))),
                ("device".to_owned(), Context::Other(field("name"))),
            ]),
            server_name: Some("host".into()),
            ..Event::default()
        };
        let sent = serde_json::to_string(&scrubbed(event)).unwrap();
        assert!(!sent.contains(CANARY) && !sent.contains("host"), "{sent}");
        for kept in [
            "a line about (withheld)",
            "about (withheld)",
            "\"job.id\":\"7\"",
            "\"error\":\"(withheld)\"",
        ] {
            assert!(sent.contains(kept), "{kept}: {sent}");
        }
    }
}
