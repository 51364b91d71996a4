//! The payments' rules as the database has them: what a row may say, and what may become of it.

use std::collections::BTreeSet;

use drop_common::domain::{
    bank_status::BankStatus,
    payment_status::{FailureReason, PaymentState, PaymentStatus},
};
use drop_tests::database::TestDatabase;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Row};
use uuid::Uuid;

/// A payment of which the bank has taken a withdrawal, in this state.
async fn stored(db: &mut PgConnection, state: PaymentState) -> Uuid {
    let id = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO transactions (id, user_id, account_id, client_key, idempotency_key, fingerprint, amount, currency,
                creditor_name, creditor_scheme, creditor_account_sealed, creditor_account_index, creditor_account_masked,
                remittance_information, product, callback_state_hash, psu_ip, psu_user_agent, expires_at, payment_id,
                withdrawn_at, status, reason, bank_status, bank_final, hold)
         SELECT $1, u.id, a.id, $1::text, $1, sha256('order'), 201000, 'NOK', 'Marko Petrovic', 'bban', 'sealed', 'index',
                '*9', 'rent', 'sepa-credit-transfers', sha256('state'), '192.0.2.7', 'browser',
                clock_timestamp() + interval '5 min', $1::text, clock_timestamp(), $2, $3, $4, $5, 201000
           FROM users u, bank_accounts a",
    )
    .bind(id)
    .bind(state.status.as_str())
    .bind(state.reason.map(FailureReason::as_str))
    .bind(state.bank_status.map(BankStatus::as_str))
    .bind(state.bank_final)
    .execute(db)
    .await
    .unwrap();
    id
}

/// A database with a person and their account.
async fn with_an_account() -> TestDatabase {
    let database = TestDatabase::new().await;
    sqlx::raw_sql(
        "INSERT INTO users (id, national_id_hash, first_name, last_name)
         VALUES (gen_random_uuid(), repeat('a', 64), 'Anna', 'Hansen');
         INSERT INTO bank_consents (id, user_id, bank, client_key, request_id, callback_state_hash)
         SELECT gen_random_uuid(), id, 'dnb', 'link', gen_random_uuid(), sha256('state') FROM users;
         INSERT INTO bank_accounts (id, user_id, consent_id, bank, resource_id, account_sealed, account_index, account_masked, currency)
         SELECT gen_random_uuid(), user_id, id, bank, 'one', 'sealed', 'index', '*7', 'NOK' FROM bank_consents",
    )
    .execute(&database.pool)
    .await
    .unwrap();
    database
}

/// The rule that refuses it, if one does. Nothing is changed.
async fn refused_by(db: &PgPool, sql: &str) -> Option<String> {
    let mut tx = db.begin().await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *tx).await;
    tx.rollback().await.unwrap();
    match done {
        Ok(changed) => {
            assert_eq!(changed.rows_affected(), 1, "{sql}");
            None
        }
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("23514") => {
            Some(error.constraint().unwrap().to_owned())
        }
        Err(error) => panic!("{sql}: {error}"),
    }
}

/// The rule that refuses another row which says this from the beginning.
async fn written_so(db: &PgPool, said: &str) -> Option<String> {
    let mut tx = db.begin().await.unwrap();
    let other = format!(
        "CREATE TEMP TABLE another (LIKE transactions) ON COMMIT DROP;
         INSERT INTO another SELECT * FROM transactions;
         UPDATE another SET id = gen_random_uuid(), client_key = 'another', idempotency_key = gen_random_uuid(), payment_id = 'another';
         UPDATE another SET {said}"
    );
    sqlx::raw_sql(AssertSqlSafe(other)).execute(&mut *tx).await.unwrap();
    let written = sqlx::raw_sql("INSERT INTO transactions SELECT * FROM another")
        .execute(&mut *tx)
        .await;
    tx.rollback().await.unwrap();
    match written {
        Ok(_) => None,
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("23514") => {
            Some(error.constraint().unwrap().to_owned())
        }
        Err(error) => panic!("{said}: {error}"),
    }
}

/// Every state in which a row could be, whether or not the machine allows it.
fn imaginable() -> Vec<PaymentState> {
    let failures = FailureReason::ALL
        .iter()
        .map(|&reason| (PaymentStatus::Failed, Some(reason)));
    let others = [
        PaymentStatus::Processing,
        PaymentStatus::Completed,
        PaymentStatus::Cancelled,
    ];
    let ends: Vec<_> = failures.chain(others.map(|status| (status, None))).collect();
    let codes: Vec<_> = BankStatus::ALL.iter().copied().map(Some).chain([None]).collect();
    let mut all = Vec::new();
    for (status, reason) in ends {
        for &bank_status in &codes {
            all.extend([false, true].map(|bank_final| PaymentState {
                status,
                reason,
                bank_status,
                bank_final,
            }));
        }
    }
    all
}

/// Where one thing that can happen takes a payment, whatever `PISP_PROVISIONAL_COMPLETED` says.
fn moves(from: PaymentState) -> Vec<PaymentState> {
    let codes = BankStatus::ALL
        .iter()
        .flat_map(|code| [&[][..], &[*code]].map(|listed| from.on_bank_code(code.as_str(), listed)));
    let refusals = FailureReason::ALL
        .iter()
        .filter(|reason| !matches!(reason, FailureReason::BankRejected | FailureReason::ScaTimeout))
        .map(|&reason| from.on_refused(reason));
    let others = [
        from.on_sca_timeout(),
        from.on_taken_back(),
        from.on_withdrawn(),
        from.on_gone_after_cancel(),
    ];
    let all = codes.chain(refusals).chain(others);
    all.map(|transition| transition.state).collect()
}

/// Every state that the machine can reach, and each step of it.
fn machine() -> (Vec<PaymentState>, Vec<(PaymentState, PaymentState)>) {
    let (mut states, mut steps, mut next) = (vec![PaymentState::new()], Vec::new(), 0);
    while let Some(&from) = states.get(next) {
        for to in moves(from) {
            if !states.contains(&to) {
                states.push(to);
            }
            steps.push((from, to));
        }
        next += 1;
    }
    (states, steps)
}

#[tokio::test]
async fn p4_the_database_holds_each_state_of_the_machine_and_lets_a_payment_make_its_moves_and_no_others() {
    let database = with_an_account().await;
    let (states, steps) = machine();
    assert!(states.len() > 50, "{states:?}");
    let mut tx = database.pool.begin().await.unwrap();
    sqlx::raw_sql(
        "CREATE TEMP TABLE imagined (n int, status text, reason text, bank_status text, bank_final boolean) ON COMMIT DROP;
         CREATE FUNCTION pg_temp.may_become(payment uuid, goal imagined) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
           UPDATE transactions SET status = goal.status, reason = goal.reason, bank_status = goal.bank_status,
                  bank_final = goal.bank_final WHERE id = payment;
           RAISE EXCEPTION 'undone' USING ERRCODE = 'DROP1';
         EXCEPTION WHEN SQLSTATE 'DROP1' THEN RETURN true; WHEN check_violation THEN RETURN false; END $$",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    let imagined = imaginable();
    for (number, goal) in (0_i32..).zip(&imagined) {
        sqlx::query("INSERT INTO imagined VALUES ($1, $2, $3, $4, $5)")
            .bind(number)
            .bind(goal.status.as_str())
            .bind(goal.reason.map(FailureReason::as_str))
            .bind(goal.bank_status.map(BankStatus::as_str))
            .bind(goal.bank_final)
            .execute(&mut *tx)
            .await
            .unwrap();
    }
    for from in states {
        let payment = stored(&mut tx, from).await;
        let allowed = sqlx::query("SELECT n FROM imagined WHERE pg_temp.may_become($1, imagined)")
            .bind(payment)
            .fetch_all(&mut *tx)
            .await
            .unwrap();
        let allowed: BTreeSet<usize> = allowed
            .iter()
            .map(|row| usize::try_from(row.get::<i32, _>("n")).unwrap())
            .collect();
        for (number, goal) in imagined.iter().enumerate() {
            let is_a_step = from == *goal || steps.contains(&(from, *goal));
            assert_eq!(allowed.contains(&number), is_a_step, "{from:?} to {goal:?}");
        }
    }
    tx.rollback().await.unwrap();
    database.remove().await;
}

/// What a row may not say, and the rule against it. The bank has taken the payment's withdrawal, unless it says otherwise.
const CONTRADICTIONS: [(&str, &str); 26] = [
    ("status = 'failed', reason = 'bad luck'", "a_reason_that_we_know"),
    ("status = 'lost'", "transactions_status_check"),
    ("status = 'failed'", "failed_has_reason"),
    ("reason = 'sca_timeout'", "failed_has_reason"),
    ("status = 'completed'", "only_the_bank_completes"),
    ("bank_final = true", "processing_is_open"),
    ("payment_id = NULL", "only_what_the_bank_knows_is_withdrawn"),
    (
        "payment_id = NULL, withdrawn_at = NULL, sca_redirect = 'https://dnb.no/one'",
        "a_link_names_its_payment",
    ),
    (
        "payment_id = NULL, withdrawn_at = NULL, withdrawing_at = clock_timestamp()",
        "only_what_the_bank_knows_is_being_withdrawn",
    ),
    (
        "payment_id = NULL, withdrawn_at = NULL, authorisation = 'wanted'",
        "only_what_the_bank_knows_is_authorised",
    ),
    ("bank_change = 'same'", "a_change_that_was_read_has_an_amount"),
    (
        "bank_change = 'same', bank_amount = 201000",
        "a_change_that_was_read_has_an_amount",
    ),
    (
        "bank_execution_date = '2026-11-30'",
        "a_change_that_was_read_has_an_amount",
    ),
    (
        "status = 'failed', reason = 'sca_timeout', bank_status = 'ACSC', bank_final = true",
        "the_banks_last_word_is_the_status",
    ),
    (
        "status = 'cancelled', bank_status = 'RJCT', bank_final = true",
        "the_banks_last_word_is_the_status",
    ),
    (
        "status = 'cancelled', bank_status = 'ACCC', bank_final = true",
        "the_banks_last_word_is_the_status",
    ),
    (
        "status = 'completed', bank_status = 'CANC', bank_final = true",
        "only_settlement_completes_for_good",
    ),
    ("bank_status = 'ACSC'", "settled_is_final"),
    (
        "status = 'failed', reason = 'bank_rejected', bank_final = true",
        "only_the_bank_rejects",
    ),
    (
        "status = 'completed', bank_status = 'ACSP', bank_final = true",
        "only_settlement_completes_for_good",
    ),
    (
        "status = 'failed', reason = 'refused', bank_status = 'RCVD', bank_final = true",
        "a_refusal_leaves_nothing_at_the_bank",
    ),
    (
        "status = 'failed', reason = 'not_sent'",
        "a_refusal_leaves_nothing_at_the_bank",
    ),
    (
        "status = 'failed', reason = 'sca_timeout', bank_status = 'ACSP'",
        "what_the_bank_accepted_has_not_timed_out",
    ),
    (
        "status = 'failed', reason = 'sca_timeout', bank_final = true, withdrawn_at = NULL",
        "a_timeout_is_final_once_it_is_withdrawn",
    ),
    (
        "status = 'cancelled', withdrawn_at = NULL",
        "cancelled_by_the_bank_or_before_it_had_it",
    ),
    (
        "status = 'cancelled', bank_final = true, withdrawn_at = NULL",
        "cancelled_by_the_bank_or_before_it_had_it",
    ),
];

#[tokio::test]
async fn a_row_that_contradicts_itself_is_refused_by_the_rule_that_it_breaks() {
    let database = with_an_account().await;
    let mut db = database.pool.acquire().await.unwrap();
    stored(&mut db, PaymentState::new()).await;
    for (said, rule) in CONTRADICTIONS {
        let refused = refused_by(&database.pool, &format!("UPDATE transactions SET {said}")).await;
        assert_eq!(refused.as_deref(), Some(rule), "{said}");
        assert_eq!(written_so(&database.pool, said).await.as_deref(), Some(rule), "{said}");
    }
    // Written while nobody looked, as by a restore of data alone, and found by the check of `migrations/README.md`.
    let unseen = "ALTER TABLE transactions DISABLE TRIGGER USER; UPDATE transactions SET status = 'failed';
         ALTER TABLE transactions ENABLE TRIGGER USER; UPDATE transactions SET version = version";
    let found = refused_by(&database.pool, unseen).await;
    assert_eq!(found.as_deref(), Some("failed_has_reason"));
    // What was taken back before the bank had it needs no withdrawal.
    let mut tx = database.pool.begin().await.unwrap();
    sqlx::raw_sql(
        "ALTER TABLE transactions DISABLE TRIGGER USER; UPDATE transactions SET payment_id = NULL, withdrawn_at = NULL",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::raw_sql("UPDATE transactions SET status = 'cancelled', bank_final = true")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    drop(db);
    database.remove().await;
}

/// What is written with the order, each with another value.
const ORDERED: [(&str, &str); 19] = [
    ("id", "gen_random_uuid()"),
    ("user_id", "(SELECT id FROM users WHERE first_name = 'Marko')"),
    (
        "account_id",
        "(SELECT a.id FROM bank_accounts a WHERE a.id <> account_id LIMIT 1)",
    ),
    ("client_key", "'another'"),
    ("idempotency_key", "gen_random_uuid()"),
    ("fingerprint", "sha256('another')"),
    ("amount", "amount + 1"),
    ("currency", "'EUR'"),
    ("creditor_name", "'Somebody else'"),
    ("creditor_scheme", "'iban'"),
    ("creditor_account_sealed", "'sealed otherwise'"),
    ("creditor_account_index", "'another'"),
    ("creditor_account_masked", "'*1'"),
    ("remittance_information", "'another'"),
    ("product", "'target-2-payments'"),
    ("callback_state_hash", "sha256('another')"),
    (
        "confirmed_duplicate_of",
        "(SELECT t.id FROM transactions t WHERE t.id <> transactions.id LIMIT 1)",
    ),
    ("created_at", "created_at - interval '1 s'"),
    ("expires_at", "expires_at + interval '1 s'"),
];

/// What is written once, later.
const ONCE: [(&str, &str); 13] = [
    ("payment_id", "'pay_another'"),
    ("payment_id", "NULL, withdrawn_at = NULL, sca_redirect = NULL"),
    ("sca_redirect", "'https://dnb.no/another'"),
    ("sca_redirect", "NULL"),
    ("callback_at", "NULL"),
    ("withdrawn_at", "NULL"),
    ("sca_deadline", "NULL"),
    ("callback_state_sealed", "'another'"),
    ("psu_ip", "'192.0.2.8'"),
    ("psu_user_agent", "'another'"),
    ("hold", "hold + 1"),
    ("hold", "1"),
    ("version", "version - 1"),
];

/// What changes on a payment's way; what else there is must be tried above.
const CHANGING: [&str; 14] = [
    "status",
    "reason",
    "bank_status",
    "bank_final",
    "needs_review",
    "cancellation",
    "authorisation",
    "bank_change",
    "bank_amount",
    "bank_currency",
    "bank_execution_date",
    "updated_at",
    "withdrawing_at",
    "forgotten_at",
];

#[tokio::test]
async fn p7_what_was_ordered_and_what_has_happened_cannot_be_written_otherwise() {
    let database = with_an_account().await;
    let db = &database.pool;
    let mut connection = db.acquire().await.unwrap();
    stored(&mut connection, PaymentState::new()).await;
    let other = stored(&mut connection, PaymentState::new()).await;
    drop(connection);
    sqlx::raw_sql(
        "INSERT INTO users (id, national_id_hash, first_name, last_name)
         VALUES (gen_random_uuid(), repeat('b', 64), 'Marko', 'Petrovic');
         INSERT INTO bank_accounts (id, user_id, consent_id, bank, resource_id, account_sealed, account_index, account_masked, currency)
         SELECT gen_random_uuid(), user_id, consent_id, bank, 'two', 'sealed', 'another', '*8', 'NOK' FROM bank_accounts;
         UPDATE transactions SET sca_redirect = 'https://dnb.no/one', callback_at = clock_timestamp(), sca_deadline = clock_timestamp()",
    )
    .execute(db)
    .await
    .unwrap();
    for (rule, columns) in [
        ("what_was_ordered_stays", &ORDERED[..]),
        ("what_happened_stays", &ONCE[..]),
    ] {
        for (column, otherwise) in columns {
            let sql = format!("UPDATE transactions SET {column} = {otherwise} WHERE id = '{other}'");
            assert_eq!(refused_by(db, &sql).await.as_deref(), Some(rule), "{sql}");
        }
    }
    // What may be done all the same.
    for harmless in [
        "hold = 0",
        "version = version + 1",
        "callback_state_sealed = NULL",
        "psu_ip = NULL, psu_user_agent = NULL",
        "callback_at = callback_at + interval '1 s'",
        "needs_review = true",
    ] {
        let sql = format!("UPDATE transactions SET {harmless} WHERE id = '{other}'");
        assert_eq!(refused_by(db, &sql).await, None, "{sql}");
    }

    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'transactions' AND table_schema = 'public'",
    )
    .fetch_all(db)
    .await
    .unwrap();
    let tried = |name: &str| CHANGING.contains(&name) || ORDERED.iter().chain(&ONCE).any(|(column, _)| *column == name);
    let untried: Vec<_> = columns.iter().filter(|column| !tried(column)).collect();
    assert!(untried.is_empty(), "may these change? {untried:?}");
    database.remove().await;
}

#[tokio::test]
async fn p7_a_sealed_value_is_sealed_anew_by_reseal_alone_which_changes_nothing_else() {
    let database = with_an_account().await;
    let db = &database.pool;
    let mut connection = db.acquire().await.unwrap();
    stored(&mut connection, PaymentState::new()).await;
    drop(connection);
    // The order has left without what only the bank is told, but for its state.
    let unseen =
        "ALTER TABLE transactions DISABLE TRIGGER USER; UPDATE transactions SET callback_state_sealed = 'state';
         ALTER TABLE transactions ENABLE TRIGGER USER";
    sqlx::raw_sql(unseen).execute(db).await.unwrap();
    let payee = r"creditor_account_sealed = '\x02', creditor_account_index = 'anew'";
    let state = r"callback_state_sealed = '\x02'";
    let (ordered, happened) = (Some("what_was_ordered_stays"), Some("what_happened_stays"));
    for (reseals, change, rule) in [
        (false, payee.to_owned(), ordered),
        (false, state.to_owned(), happened),
        (true, payee.to_owned(), None),
        (true, state.to_owned(), None),
        // Under the key that it was sealed with, it is another value.
        (true, "creditor_account_sealed = 'sealed otherwise'".to_owned(), ordered),
        (true, "creditor_account_index = 'anew'".to_owned(), ordered),
        (true, "callback_state_sealed = 'state otherwise'".to_owned(), happened),
        (true, format!("{payee}, hold = 0"), ordered),
        (true, format!("{state}, needs_review = true"), happened),
    ] {
        let says = if reseals { "SET LOCAL drop.reseal = 'on'; " } else { "" };
        let sql = format!("{says}UPDATE transactions SET {change}");
        assert_eq!(refused_by(db, &sql).await.as_deref(), rule, "{sql}");
    }
    database.remove().await;
}

#[tokio::test]
async fn p2_an_attempt_is_what_was_written_before_it_left_and_ends_once() {
    let database = with_an_account().await;
    let db = &database.pool;
    let mut connection = db.acquire().await.unwrap();
    let payment = stored(&mut connection, PaymentState::new()).await;
    let other = stored(&mut connection, PaymentState::new()).await;
    drop(connection);
    sqlx::query("INSERT INTO payment_attempts (transaction_id, job_attempt, body_hash) VALUES ($1, 1, sha256('body'))")
        .bind(payment)
        .execute(db)
        .await
        .unwrap();
    let ends = |outcome: &str| {
        format!("UPDATE payment_attempts SET outcome = '{outcome}', http_status = 201, finished_at = clock_timestamp()")
    };
    let stays = Some("an_attempt_stays".to_owned());
    for change in [
        "body_hash = sha256('another')".to_owned(),
        "job_attempt = 2".to_owned(),
        format!("transaction_id = '{other}'"),
    ] {
        let sql = format!("UPDATE payment_attempts SET {change}");
        assert_eq!(refused_by(db, &sql).await, stays, "{sql}");
    }
    assert_eq!(refused_by(db, &ends("accepted")).await, None);
    sqlx::raw_sql(AssertSqlSafe(ends("ambiguous")))
        .execute(db)
        .await
        .unwrap();
    for again in [
        ends("accepted"),
        ends("not_sent"),
        "UPDATE payment_attempts SET http_status = NULL".to_owned(),
        "UPDATE payment_attempts SET outcome = 'sending', finished_at = NULL".to_owned(),
    ] {
        assert_eq!(refused_by(db, &again).await, stays, "{again}");
    }
    database.remove().await;
}
