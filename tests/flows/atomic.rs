//! The row and its job are one transaction: a connection that dies between them leaves neither; one that dies when the
//! commit is done leaves both. Asking again heals either.

use drop_sandbox::{Delivery, Review};
use drop_tests::{
    app::TestApp,
    person::{LoginUnderWay, SignedIn},
};
use rstest::rstest;
use serde_json::json;

/// A request that writes a row and a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    LoginCallback,
    AppCallback,
    Applicant,
    Webhook,
    Consent,
    Payment,
}

/// When the connection dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The row is written, the job is about to be.
    BeforeTheJob,
    /// Both are written, the commit is under way.
    InTheCommit,
    /// The commit is done, and nobody hears of it.
    AfterTheCommit,
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_dies_leaves_the_row_with_its_job_or_neither(
    #[values(
        Ask::LoginCallback,
        Ask::AppCallback,
        Ask::Applicant,
        Ask::Webhook,
        Ask::Consent,
        Ask::Payment
    )]
    ask: Ask,
    #[values(Moment::BeforeTheJob, Moment::InTheCommit, Moment::AfterTheCommit)] moment: Moment,
) {
    let app = TestApp::start_on_a_lossy_way().await;
    let anna = app.signed_in("anna").await;
    let account = match ask {
        Ask::Payment => anna.has_an_account().await,
        Ask::Consent => {
            anna.is_approved().await;
            String::new()
        }
        Ask::LoginCallback | Ask::AppCallback | Ask::Applicant | Ask::Webhook => String::new(),
    };
    let login = match ask {
        Ask::AppCallback => {
            let login = app.start_app_login().await;
            LoginUnderWay {
                authorization_url: login.authorization_url,
                cookie: String::new(),
            }
        }
        _ => app.start_login().await,
    };
    app.stop_worker().await;
    let before = (ask.rows(&app).await, ask.jobs(&app).await);

    arm(&app, ask, moment).await;
    let status = ask.send(&app, &anna, &login, &account).await;
    assert_eq!(status, 503, "{ask:?} {moment:?}");
    let both = u8::from(moment == Moment::AfterTheCommit);
    assert_eq!(
        (ask.rows(&app).await - before.0, ask.jobs(&app).await - before.1),
        (both.into(), both.into()),
        "{ask:?} {moment:?}"
    );

    disarm(&app).await;
    let again = ask.send(&app, &anna, &login, &account).await;
    let expected = match (ask, moment) {
        // A login's callback is taken once; who never heard of it starts anew.
        (Ask::LoginCallback | Ask::AppCallback, Moment::AfterTheCommit) => 400,
        (Ask::AppCallback, _) => 303,
        (Ask::Webhook, _) => 200,
        // The first order is known, in whatever state it is.
        (Ask::Payment, Moment::AfterTheCommit) => 201,
        _ => 202,
    };
    assert_eq!(again, expected, "{ask:?} {moment:?}");
    assert_eq!(
        (ask.rows(&app).await - before.0, ask.jobs(&app).await - before.1),
        (1, 1),
        "{ask:?} {moment:?}"
    );
    assert!(app.run_jobs().await >= 1);
    app.finish().await;
}

/// Lets the connection die at that moment of the next such request.
async fn arm(app: &TestApp, ask: Ask, moment: Moment) {
    let when = match moment {
        Moment::BeforeTheJob => "TRIGGER cut BEFORE INSERT ON jobs",
        Moment::InTheCommit => "CONSTRAINT TRIGGER cut AFTER INSERT ON jobs DEFERRABLE INITIALLY DEFERRED",
        // One statement, which is its own transaction: it is done when it has told the one event that was new.
        Moment::AfterTheCommit if ask == Ask::Webhook => return app.lose_next_answer(b"SELECT 1\0"),
        Moment::AfterTheCommit => return app.lose_next_commit(),
    };
    let cut = format!(
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END';
         CREATE {when} FOR EACH ROW WHEN (NEW.kind = '{}') EXECUTE FUNCTION cut()",
        ask.kind()
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(cut)).execute(&app.db).await.unwrap();
}

async fn disarm(app: &TestApp) {
    let mend = "DROP TRIGGER IF EXISTS cut ON jobs; DROP FUNCTION IF EXISTS cut";
    sqlx::raw_sql(mend).execute(&app.db).await.unwrap();
}

impl Ask {
    fn kind(self) -> &'static str {
        match self {
            Self::LoginCallback | Self::AppCallback => "check-login",
            Self::Applicant => "create-applicant",
            Self::Webhook => "apply-kyc-event",
            Self::Consent => "start-consent",
            Self::Payment => "initiate-payment",
        }
    }

    /// How many rows there are of those that the request writes beside its job.
    async fn rows(self, app: &TestApp) -> i64 {
        let count = match self {
            Self::LoginCallback => "SELECT count(*) FROM logins WHERE consumed_at IS NOT NULL",
            Self::AppCallback => {
                "SELECT count(*) FROM logins WHERE consumed_at IS NOT NULL AND code_sealed IS NOT NULL
                    AND login_code_hash IS NOT NULL"
            }
            Self::Applicant => "SELECT count(*) FROM kyc_applicants",
            Self::Webhook => "SELECT count(*) FROM webhook_events",
            Self::Consent => "SELECT count(*) FROM bank_consents",
            Self::Payment => "SELECT count(*) FROM transactions",
        };
        sqlx::query_scalar(count).fetch_one(&app.db).await.unwrap()
    }

    async fn jobs(self, app: &TestApp) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM jobs WHERE kind = $1")
            .bind(self.kind())
            .fetch_one(&app.db)
            .await
            .unwrap()
    }

    /// Sends it, without waiting for the job; the answer's status.
    async fn send(self, app: &TestApp, anna: &SignedIn<'_>, login: &LoginUnderWay, account: &str) -> u16 {
        let status = match self {
            Self::LoginCallback | Self::AppCallback => {
                let page = &login.authorization_url;
                let back = app.sandbox.bankid().sign_in(page, "anna").expect("BankID's redirect");
                app.come_back_later(&back, &login.cookie).await.status
            }
            Self::Applicant => {
                let wanted = json!({ "email": "anna@example.com" });
                anna.post_later("/v1/kyc/applicant", "unused", &wanted).await.status
            }
            Self::Webhook => {
                let sumsub = app.sandbox.sumsub();
                let sent = match sumsub.webhooks().last() {
                    Some(earlier) => sumsub.resend(earlier.number).await,
                    None => {
                        sumsub
                            .review(Review::of(&anna.user, "GREEN"), &Delivery::default())
                            .await
                    }
                };
                return sent.unwrap().statuses[0].expect("an answer");
            }
            Self::Consent => anna.post_later("/v1/bank-consents", "link", &json!(null)).await.status,
            Self::Payment => {
                let order = json!({
                    "accountId": account,
                    "instructedAmount": { "amount": "2010.00", "currency": "NOK" },
                    "creditorName": "Marko Petrovic",
                    "creditorAccount": { "bban": "265-1234567-89" },
                });
                anna.post_later("/v1/transactions", "pay", &order).await.status
            }
        };
        status.as_u16()
    }
}
