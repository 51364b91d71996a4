//! What a login must keep to itself: it is in no line that the processes write, at their most talkative, and in no row.

use std::collections::BTreeMap;

use drop_sandbox::{Fault, Mutation, Operation, Parameter, Person};
use drop_tests::{
    app::TestApp,
    app_person::VERIFIER,
    fleet::Fleet,
    person::{Answer, browser},
    processes::SAYS_TO,
    web::Browser as WebBrowser,
};
use serde_json::json;

use crate::login::scene::{BEHIND_A_PROXY, Browser, THEIR_WORDS, newcomer, parameter, signed_in, with};

const PEPPER: &str = "the-pepper-of-this-test-alone-000";
const NAME: [&str; 2] = ["Kanarinna", "Fuglevik"];
/// The sandbox's, which nobody chose for this test.
const MINOR: [&str; 2] = ["minor", "01861299917"];

/// What is looked for, by what it is.
#[derive(Default)]
struct Secrets(BTreeMap<String, String>);

impl Secrets {
    fn keep(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 3, "{what} is too short to be looked for");
        self.0.insert(format!("{what} {}", self.0.len()), secret.to_owned());
    }

    fn keep_those_of(&mut self, way: &str, started: &str, callback: &str, cookies: &str) {
        for name in ["state", "nonce"] {
            self.keep(&format!("{way}: {name}"), &parameter(started, name));
        }
        if callback.contains("code=") {
            self.keep(&format!("{way}: code"), &parameter(callback, "code"));
        }
        for cookie in cookies.split("; ").filter_map(|cookie| cookie.split_once('=')) {
            self.keep(&format!("{way}: {}", cookie.0), cookie.1);
        }
    }

    fn keep_cookies(&mut self, browser: &WebBrowser) {
        for (name, value) in &browser.cookies {
            self.keep(name, value);
        }
    }

    fn are_not_in(&self, place: &str, text: &str) {
        for (what, secret) in &self.0 {
            // A bytea is shown in hex.
            let hex = secret
                .bytes()
                .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            let found = text
                .lines()
                .find(|line| line.contains(secret.as_str()) || line.contains(&hex));
            assert!(found.is_none(), "{what} is in {place}: {}", found.unwrap_or_default());
        }
    }
}

/// Somebody whose number and name are nobody else's.
fn canary(app: &TestApp) -> String {
    let (bankid, number) = (app.sandbox.bankid(), newcomer(app));
    bankid.add_person(Person {
        given_name: NAME[0].to_owned(),
        family_name: NAME[1].to_owned(),
        ..bankid.person(&number).unwrap()
    });
    number
}

/// A login with a session that is used, refreshed, guessed at and ended, in a browser and in the app.
async fn that_succeed(app: &TestApp, person: &str, secrets: &mut Secrets) {
    let mut web = app.browser();
    let started = web.get("/api/auth/bankid/login").await.location.unwrap();
    let callback = app.sandbox.bankid().sign_in(&started, person).unwrap();
    secrets.keep_those_of("a browser", &started, &callback, "");
    secrets.keep_cookies(&web);
    let back = callback.strip_prefix(&app.url).unwrap().to_owned();
    assert_eq!(web.get(&back).await.status, 200);
    secrets.keep_cookies(&web);
    assert_eq!(web.get("/v1/me").await.status, 200);
    assert_eq!(web.post("/v1/auth/refresh", &json!({})).await.status, 200);
    secrets.keep_cookies(&web);
    assert_eq!(web.post("/v1/auth/logout", &json!({})).await.status, 204);

    let login = app.start_app_login().await;
    let callback = app.signs_in_for(&login, person);
    secrets.keep_those_of("an app", &login.authorization_url, &callback, "");
    let code = app.opens_app(&callback).await.remove("login_code").unwrap();
    let redeemed = app.redeem(&login.id, &code, VERIFIER).await;
    assert_eq!(redeemed.status, 200, "{:?}", redeemed.problem());
    secrets.keep("the app's verifier", VERIFIER);
    secrets.keep("the app's login code", &code);
    for token in ["accessToken", "refreshToken"] {
        secrets.keep(token, redeemed.body[token].as_str().unwrap());
    }
    let guess = "a-guess-at-a-token";
    secrets.keep("a guess", guess);
    let body = json!({ "refreshToken": guess });
    assert_eq!(app.browser().post("/v1/auth/refresh", &body).await.status, 401);
    let me = browser().get(format!("{}/v1/me", app.url)).bearer_auth(guess);
    assert_eq!(me.send().await.unwrap().status(), 401);
}

/// Logins that end in every other way, with the person's number in whatever BankID and the browser say.
async fn that_fail(app: &TestApp, person: &str, secrets: &mut Secrets) {
    let (bankid, quoted) = (
        app.sandbox.bankid(),
        json!({ "error": person, "error_description": THEIR_WORDS }),
    );
    let tokens = |fault| app.sandbox.fault(Operation::BankidToken, fault, 1);
    let wrong_number = format!("{}{}", &person[..10], (person.as_bytes()[10] - b'0' + 1) % 10);
    secrets.keep("a number that is none", &wrong_number);
    let spoilt = |mutation| bankid.spoil_next(vec![mutation]);
    let ways: [(&str, u16, &dyn Fn()); 10] = [
        ("a number that is none", 502, &|| {
            spoilt(Mutation::claim("pid", wrong_number.as_str()));
        }),
        ("two numbers", 502, &|| {
            spoilt(Mutation::claim("nnin_altsub", "17829049236"));
        }),
        ("another nonce", 502, &|| spoilt(Mutation::claim("nonce", person))),
        ("a name that is no word", 502, &|| {
            spoilt(Mutation::header("kid", "no word"));
        }),
        ("no token", 502, &|| spoilt(Mutation::answer("id_token", person))),
        ("a refusal", 502, &|| {
            tokens(Fault::Status {
                code: 400,
                body: Some(quoted.clone()),
            });
        }),
        ("an error page", 502, &|| {
            tokens(Fault::Status {
                code: 500,
                body: Some(json!(format!("<html>{person}"))),
            });
        }),
        ("no JSON", 502, &|| tokens(Fault::Garbage)),
        ("another way", 502, &|| {
            tokens(Fault::Redirect {
                to: format!("{}/{person}", app.sandbox.url()),
            });
        }),
        ("an error", 502, &|| {
            let error = [
                Parameter::set("error", person),
                Parameter::set("error_description", THEIR_WORDS),
            ];
            bankid.spoil_next_return(error.to_vec());
        }),
    ];
    for (way, status, goes_wrong) in ways {
        goes_wrong();
        assert_eq!(once(app, way, person, secrets).await.status, status, "{way}");
    }
    assert_eq!(once(app, "too young", MINOR[0], secrets).await.status, 403);
    assert_eq!(once(app, "cancelled", "cancel", secrets).await.status, 400);
}

/// One login in a browser, and its callback once more, twice with the code, and with somebody else's state.
async fn once(app: &TestApp, way: &str, person: &str, secrets: &mut Secrets) -> Answer {
    let browser = Browser::of(app);
    let underway = browser.starts().await;
    let callback = signed_in(app, &underway, person);
    secrets.keep_those_of(way, &underway.authorization_url, &callback, &underway.cookies);
    let foreign = with(&callback, &[Parameter::set("state", "somebody-elses")]);
    secrets.keep("a state of nobody", "somebody-elses");
    assert_eq!(browser.returns(&foreign, &underway.cookies).await.status, 400);
    let twice = format!("{callback}&code=a-second-code");
    secrets.keep("a second code", "a-second-code");
    let refused = browser.returns(&twice, &underway.cookies).await.status;
    assert!(refused == 400, "{way}: {refused}");
    let answer = browser.returns(&callback, &underway.cookies).await;
    assert_eq!(browser.returns(&callback, &underway.cookies).await.status, 400);
    answer
}

/// What every table holds, but for the names that a user's row is there for.
async fn rows(app: &TestApp) -> String {
    let tables: Vec<String> = sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
        .fetch_all(&app.db)
        .await
        .unwrap();
    let mut all = Vec::new();
    for table in tables {
        let kept = match table.as_str() {
            "users" => "to_jsonb(t) - 'first_name' - 'last_name'",
            _ => "to_jsonb(t)",
        };
        let rows = sqlx::AssertSqlSafe(format!("SELECT '{table} ' || ({kept})::text FROM \"{table}\" t"));
        all.extend(sqlx::query_scalar::<_, String>(rows).fetch_all(&app.db).await.unwrap());
    }
    all.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_login_must_keep_to_itself_is_in_no_line_of_a_log_and_in_no_row() {
    let file = std::env::temp_dir().join(format!("drop-said-{}", uuid::Uuid::now_v7()));
    let fleet = Fleet {
        program: env!("CARGO_BIN_EXE_drop-node"),
        apis: 1,
        workers: 1,
    };
    let changes = [
        BEHIND_A_PROXY,
        ("RUST_LOG", "trace"),
        (SAYS_TO, file.to_str().unwrap()),
        ("NATIONAL_ID_PEPPER", PEPPER),
    ];
    let app = TestApp::start_fleet_with(fleet, &changes).await;
    let (person, mut secrets) = (canary(&app), Secrets::default());
    that_succeed(&app, &person, &mut secrets).await;
    that_fail(&app, &person, &mut secrets).await;
    for (what, secret) in [
        ("number", person.as_str()),
        ("another number", "17829049236"),
        ("a minor's number", MINOR[1]),
    ] {
        secrets.keep(what, secret);
    }
    for name in NAME {
        secrets.keep("name", name);
    }
    app.until_idle().await;
    secrets.are_not_in("a row", &rows(&app).await);

    for (what, secret) in [
        ("pepper", PEPPER),
        ("client secret", "bankid-test-secret"),
        ("BankID's own words", THEIR_WORDS),
        ("a token of whomever", "eyJ"),
    ] {
        secrets.keep(what, secret);
    }
    let hash: String = sqlx::query_scalar("SELECT national_id_hash FROM users")
        .fetch_one(&app.db)
        .await
        .unwrap();
    secrets.keep("hash", &hash);
    app.finish().await;
    let said = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    for heard in ["proved to be user", "an ID token is refused"] {
        assert!(said.contains(heard), "nobody said {heard}");
    }
    secrets.are_not_in("a line of a log", &said);
    // What nobody here knows, such as the verifier for BankID: 256 random bits have no fewer letters in base64url.
    let random = said
        .split(|letter: char| !letter.is_ascii_alphanumeric() && !"-_".contains(letter))
        .find(|word| word.len() >= 43 && is_random(word));
    assert_eq!(random, None);
}

fn is_random(word: &str) -> bool {
    let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
    has(u8::is_ascii_digit) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase)
}
