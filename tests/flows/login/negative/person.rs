//! Who an ID token says the person is: rows 27 to 30.

use drop_sandbox::{Mutation, Person};
use drop_tests::{alerts, app::TestApp};
use rstest::rstest;
use serde_json::{Value, json};

use crate::login::scene::{Browser, gets_in, is_accepted, is_refused, leaves_nothing, service, service_with};

const ANNAS_NUMBER: &str = "13897249477";
const MARKOS_NUMBER: &str = "17829049236";
const MINORS_NUMBER: &str = "01861299917";
const DISAGREE: &[&str] = &["identity_claims_disagree"];

#[tokio::test]
async fn a_national_id_that_is_none_is_refused_and_nothing_of_it_is_stored() {
    let app = service().await;
    for (way, number) in [
        ("ten digits", json!("1389724947")),
        ("twelve digits", json!("138972494777")),
        ("nothing", json!("")),
        ("a letter", json!("1389724947x")),
        ("a wrong first control digit", json!("13897249487")),
        ("a wrong second control digit", json!("13897249478")),
        ("31 April", json!("31847249814")),
        ("a number in JSON", json!(13_897_249_477_u64)),
        ("a list", json!([ANNAS_NUMBER])),
        ("Arabic digits", json!("١٣٨٩٧٢٤٩٤٧٧")),
        ("fullwidth digits", json!("１３８９７２４９４７７")),
        ("one fullwidth digit", json!("1389724947７")),
        ("a space in the middle", json!("138972 49477")),
        ("a space for a digit", json!(" 3897249477")),
        ("a space before it", json!(" 13897249477")),
        ("a line break after it", json!("13897249477\n")),
        ("a plus for a digit", json!("+3897249477")),
    ] {
        // A user's row is the only place for a hash, and there is none.
        let spoilt = vec![Mutation::claim("pid", number)];
        is_refused(&app, way, spoilt, "invalid_identity_claim").await;
    }
    app.finish().await;
}

#[tokio::test]
async fn two_national_ids_must_be_one() {
    let app = service().await;
    let other = vec![Mutation::claim("nnin_altsub", MARKOS_NUMBER)];
    is_refused(&app, "two", other, "invalid_identity_claim").await;
    let same = Mutation::claim("nnin_altsub", ANNAS_NUMBER);
    let twice = vec![same.clone(), Mutation::claim("pid", ANNAS_NUMBER)];
    is_accepted(&app, "twice the same", twice).await;
    let renamed = vec![same, Mutation::claim("pid", Value::Null)];
    is_accepted(&app, "under its other name", renamed).await;
    app.finish().await;
}

// Dolly's numbers are like help numbers, which only production refuses: the worker's own test has those.
#[rstest]
#[case::of_tenor("anna", "")]
#[case::of_synt_pop("syntpop", "tenor,dolly")]
#[tokio::test]
async fn a_synthetic_national_id_is_refused_where_its_series_is_not_configured(
    #[case] person: &str,
    #[case] configured: &str,
) {
    let app = service_with(&[("BANKID_SYNTHETIC_IDS", configured)]).await;
    leaves_nothing(&app, person, (502, "invalid_identity_claim"), 1, async || {
        Browser::of(&app).logs_in(person).await
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn a_synthetic_national_id_is_accepted_where_its_series_is_configured() {
    let app = service_with(&[("BANKID_SYNTHETIC_IDS", "tenor,dolly,syntpop")]).await;
    for person in ["anna", "dolly", "syntpop"] {
        gets_in(&app, &Browser::of(&app), person).await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_person_without_a_national_id_is_known_by_subject_where_the_birth_date_proves_the_age() {
    let app = service().await;
    let browser = Browser::of(&app);
    let first = gets_in(&app, &browser, "no_number").await;
    assert_eq!(gets_in(&app, &browser, "no_number").await, first);
    assert_ne!(gets_in(&app, &browser, "anna").await, first);
    leaves_nothing(&app, "no age", (403, "age_unverified"), 1, async || {
        browser.logs_in("no_claims").await
    })
    .await;
    app.finish().await;
}

#[rstest]
#[case::without_a_pepper(&[])]
#[case::with_a_pepper(&[("NATIONAL_ID_PEPPER", "test-pepper-not-for-production-0")])]
#[tokio::test]
async fn a_subject_that_is_somebodys_national_id_is_somebody_else(#[case] pepper: &[(&'static str, &str)]) {
    let app = service_with(pepper).await;
    let browser = Browser::of(&app);
    let anna = gets_in(&app, &browser, "anna").await;
    app.sandbox.bankid().spoil_next(vec![
        Mutation::claim("pid", Value::Null),
        Mutation::claim("sub", ANNAS_NUMBER),
    ]);
    assert_ne!(gets_in(&app, &browser, "anna").await, anna);
    app.finish().await;
}

#[tokio::test]
async fn a_minor_is_refused_by_whichever_date_is_the_younger() {
    alerts::listen();
    let app = service().await;
    for (way, number, birthdate, raised) in [
        ("the number alone", Some(MINORS_NUMBER), None, &[][..]),
        ("the birth date alone", None, Some("2012-06-01"), &[]),
        ("both", Some(MINORS_NUMBER), Some("2012-06-01"), &[]),
        (
            "the number against the birth date",
            Some(MINORS_NUMBER),
            Some("1972-09-13"),
            DISAGREE,
        ),
        (
            "the birth date against the number",
            Some(ANNAS_NUMBER),
            Some("2012-06-01"),
            DISAGREE,
        ),
    ] {
        app.sandbox.bankid().add_person(Person {
            key: "young".into(),
            national_id: number.map(str::to_owned),
            given_name: "Ung".into(),
            family_name: "Person".into(),
            birthdate: birthdate.map(str::to_owned),
            note: String::new(),
        });
        leaves_nothing(&app, way, (403, "underage"), 1, async || {
            Browser::of(&app).logs_in("young").await
        })
        .await;
        assert_eq!(alerts::about(&last_login(&app).await), raised, "{way}");
    }
    gets_in(&app, &Browser::of(&app), "anna").await;
    app.finish().await;
}

#[tokio::test]
async fn an_adult_whose_two_dates_differ_gets_in_and_somebody_is_told() {
    alerts::listen();
    let app = service().await;
    let other = Mutation::claim("birthdate", "1972-09-14");
    app.sandbox.bankid().spoil_next(vec![other]);
    gets_in(&app, &Browser::of(&app), "anna").await;
    assert_eq!(alerts::about(&last_login(&app).await), DISAGREE);
    app.finish().await;
}

#[tokio::test]
async fn a_birth_date_that_is_no_date_does_not_count_as_none() {
    let app = service().await;
    for birthdate in ["13.09.1972", "1972-9-13", "1972", "1972-02-30", "", "+1972-09-13"] {
        let spoilt = vec![Mutation::claim("birthdate", birthdate)];
        is_refused(&app, birthdate, spoilt, "invalid_identity_claim").await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_birth_date_whose_year_is_kept_back_proves_no_age() {
    let app = service().await;
    let without_year = |number: Option<&str>| Person {
        key: "ageless".into(),
        national_id: number.map(str::to_owned),
        given_name: "Uten".into(),
        family_name: "Alder".into(),
        birthdate: Some("0000-09-13".into()),
        note: String::new(),
    };
    for (way, number, end) in [
        ("alone", None, (403, "age_unverified")),
        ("with a minor's number", Some(MINORS_NUMBER), (403, "underage")),
    ] {
        app.sandbox.bankid().add_person(without_year(number));
        leaves_nothing(&app, way, end, 1, async || Browser::of(&app).logs_in("ageless").await).await;
    }
    // The number tells it then.
    app.sandbox.bankid().add_person(without_year(Some(ANNAS_NUMBER)));
    gets_in(&app, &Browser::of(&app), "ageless").await;
    app.finish().await;
}

/// The login that was refused or succeeded last, as audit and alerts call it.
async fn last_login(app: &TestApp) -> String {
    sqlx::query_scalar("SELECT object FROM audit_log WHERE action LIKE 'login.%' ORDER BY id DESC LIMIT 1")
        .fetch_one(&app.db)
        .await
        .unwrap()
}
