//! The eighteenth birthday, by the calendar in Oslo, whichever way the clock of the machine is set.

use chrono::{DateTime, Utc};
use drop_sandbox::Person;
use drop_tests::app::TestApp;

use crate::login::scene::{Browser, gets_in, leaves_nothing, service, service_with};

/// Moves time for everything to this moment, forward or back.
async fn it_is(app: &TestApp, moment: &str) {
    let moment: DateTime<Utc> = moment.parse().unwrap();
    app.advance(moment - app.sandbox.clock().now()).await;
}

// In winter midnight in Oslo is 23:00 UTC, in summer 22:00.
const MOMENTS: [(&str, &str, bool); 14] = [
    ("eighteen_today", "2026-11-22T12:00:00Z", false),
    ("eighteen_today", "2026-11-22T22:59:00Z", false),
    ("eighteen_today", "2026-11-22T23:30:00Z", true),
    ("eighteen_today", "2026-11-23T12:00:00Z", true),
    ("eighteen_yesterday", "2026-11-23T12:00:00Z", true),
    ("eighteen_tomorrow", "2026-11-23T12:00:00Z", false),
    ("eighteen_tomorrow", "2026-11-23T23:30:00Z", true),
    // Born on a leap day that does not come.
    ("leap_2008", "2026-02-28T12:00:00Z", false),
    ("leap_2008", "2026-02-28T22:59:00Z", false),
    ("leap_2008", "2026-02-28T23:30:00Z", true),
    ("born_in_summer", "2026-06-30T21:59:00Z", false),
    ("born_in_summer", "2026-06-30T22:01:00Z", true),
    // The same two digits of the year.
    ("baby", "2026-11-23T12:00:00Z", false),
    ("centenarian", "2026-11-23T12:00:00Z", true),
];

#[tokio::test]
async fn a_person_gets_in_from_the_eighteenth_birthday_on_by_the_calendar_in_oslo() {
    let app = service().await;
    let bankid = app.sandbox.bankid();
    bankid.add_person(Person {
        key: "born_in_summer".into(),
        birthdate: Some("2008-07-01".into()),
        ..bankid.person("no_number").unwrap()
    });
    for (key, moment, of_age) in MOMENTS {
        it_is(&app, moment).await;
        let person = bankid.person(key).unwrap();
        // The birth date alone, and where there is one, the number alone.
        let by_claim = person.clone();
        let by_number = person.national_id.is_some().then_some(Person {
            birthdate: None,
            ..person
        });
        for person in [Some(by_claim), by_number].into_iter().flatten() {
            bankid.add_person(Person {
                key: "somebody".into(),
                ..person
            });
            let answer = Browser::of(&app).logs_in("somebody").await;
            let expected = if of_age { (200, "") } else { (403, "underage") };
            assert_eq!(answer.problem(), expected, "{key} at {moment}");
        }
    }
    app.finish().await;
}

const OF_2032: [&str; 3] = ["17853389935", "17853389943", "17853389951"];

#[tokio::test]
async fn a_number_of_2032_is_refused_by_the_rule_in_force() {
    let app = service().await;
    it_is(&app, "2051-05-17T12:00:00Z").await;
    for number in OF_2032 {
        born_in_2033(&app, number);
        leaves_nothing(&app, number, (502, "invalid_identity_claim"), 1, async || {
            Browser::of(&app).logs_in("born_in_2033").await
        })
        .await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_number_of_2032_gets_in_by_the_relaxed_rule_on_the_birthday_that_the_claim_tells() {
    let app = service_with(&[("BANKID_RELAXED_2032", "true")]).await;
    for number in OF_2032 {
        born_in_2033(&app, number);
        it_is(&app, "2051-05-16T12:00:00Z").await;
        leaves_nothing(&app, number, (403, "underage"), 1, async || {
            Browser::of(&app).logs_in("born_in_2033").await
        })
        .await;
        it_is(&app, "2051-05-17T12:00:00Z").await;
        gets_in(&app, &Browser::of(&app), "born_in_2033").await;
    }
    app.finish().await;
}

fn born_in_2033(app: &TestApp, number: &str) {
    let known = app.sandbox.bankid().person("rule_2032").unwrap();
    app.sandbox.bankid().add_person(Person {
        key: "born_in_2033".into(),
        national_id: Some(number.to_owned()),
        ..known
    });
}
