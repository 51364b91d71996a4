//! Values in use that must be seen nowhere: what people, providers and the service told each other in confidence.

use std::collections::{BTreeMap, BTreeSet};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use reqwest::Url;
use serde_json::Value;

use crate::person::browser;

/// The variables that hold secrets.
pub const SECRETS: [&str; 18] = [
    "BANKID_CLIENT_KEY",
    "BANKID_CLIENT_SECRET",
    "DATABASE_URL",
    "DROP_ENCRYPTION_KEY",
    "DROP_ENCRYPTION_KEY_PREVIOUS",
    "DROP_OPERATOR_TOKENS",
    "DROP_SESSION_KEY",
    "DROP_SESSION_KEY_PREVIOUS",
    "NATIONAL_ID_PEPPER",
    "NATIONAL_ID_PEPPER_PREVIOUS",
    "NEONOMICS_CLIENT_KEY",
    "NEONOMICS_CLIENT_SECRET",
    "PISP_CONSENT_ID",
    "SENTRY_DSN",
    "SUMSUB_APP_SECRET",
    "SUMSUB_APP_TOKEN",
    "SUMSUB_SECRET_KEY",
    "SUMSUB_SECRET_KEY_PREVIOUS",
];

/// Values by what they are.
#[derive(Default)]
pub struct Canaries {
    values: BTreeMap<String, BTreeSet<String>>,
    /// Those that are parts of other words, and are looked for as words of their own.
    words: BTreeSet<String>,
}

impl Canaries {
    /// Looks for one more.
    ///
    /// # Panics
    /// When it is so short that it would be found anywhere.
    pub fn add(&mut self, what: &str, value: &str) {
        assert!(value.len() >= 4, "{what}: {value:?} would be found anywhere");
        self.values.entry(what.to_owned()).or_default().insert(value.to_owned());
    }

    /// Looks for a secret of the configuration: the lines of a key, the password of an address, the hashes of a list.
    pub fn add_secret(&mut self, what: &str, secret: &str) {
        let parts = secret
            .split(['\n', ',', ':', '@'])
            .map(|part| part.trim().trim_matches('/'));
        for part in parts.filter(|part| part.len() >= 16 && !part.starts_with("-----")) {
            self.add(what, part);
        }
    }

    /// Looks for one more where it is a word of its own.
    pub fn add_word(&mut self, what: &str, word: &str) {
        self.words.insert(word.to_owned());
        self.values.entry(what.to_owned()).or_default().insert(word.to_owned());
    }

    /// The values of one kind.
    pub fn of(&self, what: &str) -> impl Iterator<Item = &str> {
        self.values.get(what).into_iter().flatten().map(String::as_str)
    }

    /// What went to the simulated providers and came from them, whom they were told about, and who can sign in there.
    /// `control` is the address of their control interface.
    pub async fn add_what_the_providers_know(&mut self, control: &str) {
        let ask = async |path: &str| -> Value {
            let answer = browser().get(format!("{control}/{path}")).send().await;
            let answer = answer.expect("an answer").error_for_status().expect("what was asked");
            answer.json().await.expect("JSON")
        };
        let confidential = ask("confidential").await;
        for (what, values) in confidential.as_object().expect("an object") {
            self.add_texts(what, values.as_array().expect("values"));
        }
        let people = ask("bankid/people").await;
        self.add_members("national id", &people, "nationalId");
        let sumsub = ask("journal/sumsub").await;
        self.add_members("e-mail", &sumsub, "email");
        let neonomics = ask("journal/neonomics").await;
        self.add_members("IBAN", &neonomics, "iban");
        self.add_members("BBAN", &neonomics, "bban");
        self.add_members("creditor", &neonomics, "creditorName");
        self.add_members("consent", &neonomics, "consent-id");
        for callback in members(&neonomics, "tpp-redirect-uri") {
            self.add_some("bank callback's state", state_of(callback).as_deref());
        }
        let accounts = ask("neonomics/accounts").await;
        self.add_members("IBAN", &accounts, "iban");
        self.add_members("BBAN", &accounts, "bban");
    }

    fn add_members(&mut self, what: &str, document: &Value, member: &str) {
        self.add_some(what, members(document, member));
    }

    fn add_texts(&mut self, what: &str, values: &[Value]) {
        self.add_some(what, values.iter().filter_map(Value::as_str));
    }

    /// Those that tests make up to see them refused may be short.
    fn add_some<'a>(&mut self, what: &str, values: impl IntoIterator<Item = &'a str>) {
        for value in values.into_iter().filter(|value| value.len() >= 8) {
            self.add(what, value);
        }
    }

    /// Those that are in the text.
    pub fn found_in(&self, text: &str) -> BTreeMap<String, BTreeSet<String>> {
        self.search().found_in(text)
    }

    /// Looks for all of them in one go, because a person may have hundreds of accounts and this is asked after each test.
    ///
    /// # Panics
    /// When there are too many to look for.
    pub(crate) fn search(&self) -> Search<'_> {
        let values = self.values.iter();
        let values = values.flat_map(|(what, values)| values.iter().map(move |value| (what, value)));
        let forms: Vec<_> = values
            .flat_map(|(what, value)| self.forms(value).into_iter().map(move |form| (form, what, value)))
            .collect();
        // The kind that is made soonest: what is made is used for a few texts.
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::NoncontiguousNFA))
            .build(forms.iter().map(|(form, ..)| form))
            .expect("a search");
        Search {
            canaries: self,
            forms,
            automaton,
        }
    }

    /// The bytes of a short word are those of many others.
    fn forms(&self, value: &str) -> BTreeSet<String> {
        if self.words.contains(value) && value.len() < 5 {
            BTreeSet::from([value.to_owned()])
        } else {
            forms(value)
        }
    }

    /// Otherwise that none was found would say nothing.
    ///
    /// # Panics
    /// When one would not be.
    pub fn assert_each_would_be_found(&self) {
        let values: BTreeSet<_> = self.values.values().flatten().collect();
        let search = self.search();
        for &value in &values {
            for form in self.forms(value) {
                let found = search.found_in(&format!("INFO a line with x={form} in it"));
                assert!(found.values().flatten().any(|found| found == value), "{value}");
            }
        }
    }
}

/// A search for all of them, to be made once for many texts.
pub(crate) struct Search<'a> {
    canaries: &'a Canaries,
    /// Each with what it is, and the value of which it is a form.
    forms: Vec<(String, &'a String, &'a String)>,
    automaton: AhoCorasick,
}

impl Search<'_> {
    /// Those that are in the text: as they are, as a part of a token, as an address writes them, or as bytes.
    pub(crate) fn found_in(&self, text: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for hit in self.automaton.find_overlapping_iter(text) {
            let (_, what, value) = &self.forms[hit.pattern().as_usize()];
            if !self.canaries.words.contains(*value) || is_word(text, hit.start(), hit.end()) {
                found.entry((*what).clone()).or_default().insert((*value).clone());
            }
        }
        found
    }
}

fn is_word(text: &str, start: usize, end: usize) -> bool {
    let (before, after) = (text[..start].chars().next_back(), text[end..].chars().next());
    ![before, after].into_iter().flatten().any(char::is_alphanumeric)
}

fn forms(value: &str) -> BTreeSet<String> {
    let encoded = Url::parse_with_params("http://host", [("v", value)]).expect("an address");
    let encoded = encoded.query().expect("a query")["v=".len()..].to_owned();
    // As PostgreSQL shows a bytea.
    let bytes = value
        .bytes()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    // That of a token which nobody signed is empty.
    let parts = value
        .split('.')
        .filter(|part| value.starts_with("eyJ") && part.len() >= 8);
    [value.to_owned(), encoded, bytes]
        .into_iter()
        .chain(parts.map(str::to_owned))
        .collect()
}

fn state_of(callback: &str) -> Option<String> {
    let url = Url::parse(callback).ok()?;
    let state = url.query_pairs().find(|(name, _)| name == "state")?;
    Some(state.1.into_owned())
}

/// The texts of a member, wherever in the document it is.
pub fn members<'a>(document: &'a Value, name: &str) -> Vec<&'a str> {
    match document {
        Value::Object(object) => {
            let here = object.get(name).and_then(Value::as_str);
            here.into_iter()
                .chain(object.values().flat_map(|value| members(value, name)))
                .collect()
        }
        Value::Array(array) => array.iter().flat_map(|value| members(value, name)).collect(),
        _ => Vec::new(),
    }
}
