//! The test people. Every number is synthetic: none is a real fødselsnummer.

use serde::{Deserialize, Serialize};

/// Somebody who can sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// The short name used in addresses and tests.
    pub key: String,
    /// Fødselsnummer, D-number or a synthetic number: the `pid` claim. Absent: no such claim.
    pub national_id: Option<String>,
    /// The `given_name` claim.
    pub given_name: String,
    /// The `family_name` claim.
    pub family_name: String,
    /// The `birthdate` claim, `YYYY-MM-DD`. Absent: no such claim.
    pub birthdate: Option<String>,
    /// What the login page says about this person.
    pub note: String,
}

impl Person {
    /// The `name` claim.
    pub fn name(&self) -> String {
        format!("{} {}", self.given_name, self.family_name)
    }

    /// The `sub` claim: always the same for a key, and nothing like a number.
    pub fn subject(&self) -> String {
        uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, self.key.as_bytes()).to_string()
    }
}

/// Key, number, given name, family name, birthdate, note; a dash means no such claim.
const TABLE: [[&str; 6]; 22] = [
    ["anna", "13897249477", "Anna", "Berg", "1972-09-13", "adult"],
    [
        "marko",
        "17829049236",
        "Marko",
        "Petrovic",
        "1990-02-17",
        "second adult",
    ],
    ["minor", "01861299917", "Mina", "Dahl", "2012-06-01", "minor"],
    [
        "leap_day",
        "29829249721",
        "Leif",
        "Skudd",
        "1992-02-29",
        "adult born on a leap day",
    ],
    [
        "leap_2000",
        "29820099840",
        "Tone",
        "Sandvik",
        "2000-02-29",
        "born on the leap day of 2000",
    ],
    [
        "new_years_eve",
        "31920499336",
        "Siv",
        "Strand",
        "2004-12-31",
        "born on the last day of a year",
    ],
    [
        "leap_2008",
        "29820899979",
        "Lea",
        "Vik",
        "2008-02-29",
        "of age on 2026-03-01, not the day before",
    ],
    [
        "centenarian",
        "23912649903",
        "Hilda",
        "Moe",
        "1926-11-23",
        "a hundred years old, not a baby",
    ],
    [
        "baby",
        "02812699817",
        "Bo",
        "Moe",
        "2026-01-02",
        "a baby with the same two digits of the year",
    ],
    [
        "series_749",
        "31929974967",
        "Olga",
        "Lund",
        "1899-12-31",
        "individual number 749",
    ],
    [
        "series_999",
        "05855599939",
        "Per",
        "Hagen",
        "1955-05-05",
        "individual number 999 in the 1900s",
    ],
    [
        "d_number",
        "41818549987",
        "Dmitri",
        "Orlov",
        "1985-01-01",
        "adult with a D-number",
    ],
    [
        "d_number_minor",
        "55831099916",
        "Daria",
        "Orlova",
        "2010-03-15",
        "minor with a D-number",
    ],
    [
        "dolly",
        "15507649979",
        "Dolly",
        "Nav",
        "1976-10-15",
        "NAV's synthetic range, accepted only where configured",
    ],
    [
        "syntpop",
        "07728149986",
        "Synne",
        "Pop",
        "1981-07-07",
        "the health sector's range, accepted only where configured",
    ],
    [
        "eighteen_yesterday",
        "22910899973",
        "Ida",
        "Nes",
        "2008-11-22",
        "18 the day before 2026-11-23",
    ],
    [
        "eighteen_today",
        "23910899902",
        "Isak",
        "Nes",
        "2008-11-23",
        "18 on 2026-11-23",
    ],
    [
        "eighteen_tomorrow",
        "24910899941",
        "Iben",
        "Nes",
        "2008-11-24",
        "18 the day after 2026-11-23",
    ],
    [
        "rule_2032",
        "17853389935",
        "Fremtid",
        "Ny",
        "2033-05-17",
        "passes only the rule of 2032",
    ],
    [
        "no_number",
        "-",
        "Nora",
        "Uten",
        "1980-04-04",
        "no number, only sub and birthdate",
    ],
    [
        "no_birthdate",
        "13897249477",
        "Anna",
        "Berg",
        "-",
        "anna's number without a birthdate",
    ],
    [
        "no_claims",
        "-",
        "Ukjent",
        "Person",
        "-",
        "neither number nor birthdate",
    ],
];

/// All of them, the default person first.
pub(crate) fn test_people() -> Vec<Person> {
    let claim = |text: &str| (text != "-").then(|| text.to_owned());
    let person = |[key, number, given, family, birthdate, note]: [&str; 6]| Person {
        key: key.to_owned(),
        national_id: claim(number),
        given_name: given.to_owned(),
        family_name: family.to_owned(),
        birthdate: claim(birthdate),
        note: note.to_owned(),
    };
    TABLE.into_iter().map(person).collect()
}
