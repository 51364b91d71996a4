//! The values in use that must not be seen.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use reqwest::Url;
use serde_json::Value;

use crate::launched::Place;
use crate::visitor::Visitor;

/// The launcher's secrets, by the variables in which its children get them.
const SECRETS: [&str; 6] = [
    "BANKID_CLIENT_SECRET",
    "NEONOMICS_CLIENT_SECRET",
    "SUMSUB_APP_TOKEN",
    "SUMSUB_SECRET_KEY",
    "DROP_SESSION_KEY",
    "DROP_ENCRYPTION_KEY",
];

/// Values by what they are.
#[derive(Default)]
pub(crate) struct Canaries {
    values: BTreeMap<String, BTreeSet<String>>,
    /// A user's id: not secret, and certainly printed.
    pub(crate) a_user: String,
}

impl Canaries {
    pub(crate) fn add(&mut self, what: &str, value: &str) {
        assert!(value.len() >= 4, "{what}: {value:?} would be found anywhere");
        self.values.entry(what.to_owned()).or_default().insert(value.to_owned());
    }

    fn add_some<'a>(&mut self, what: &str, values: impl IntoIterator<Item = &'a str>) {
        let mut any = false;
        for value in values {
            self.add(what, value);
            any = true;
        }
        assert!(any, "there is no {what}");
    }

    /// From the children's environment.
    pub(crate) fn add_secrets_of(&mut self, place: &Place) {
        let environments: Vec<_> = place
            .processes()
            .iter()
            .map(|(id, _)| String::from_utf8(fs::read(format!("/proc/{id}/environ")).unwrap()).unwrap())
            .collect();
        let variables: Vec<_> = environments
            .iter()
            .flat_map(|environment| environment.split('\0'))
            .filter_map(|variable| variable.split_once('='))
            .collect();
        for secret in SECRETS {
            let values = variables
                .iter()
                .filter(|(name, _)| *name == secret)
                .map(|(_, value)| *value);
            self.add_some(secret, values);
        }
    }

    /// From the sandbox, which was told everything that went to a provider and told everything that came from one.
    pub(crate) async fn add_what_the_sandbox_saw(&mut self, visitor: &Visitor) {
        let confidential = visitor.control("confidential").await;
        for (what, least) in [
            ("code", 2), // Anna's, and Marko's second
            ("code_verifier", 2),
            ("state", 3),
            ("nonce", 3),
            ("client_secret", 2),
            ("id_token", 2),
            ("access_token", 3), // BankID's two, and Neonomics'
            ("bearer", 2),
        ] {
            let values: Vec<_> = confidential[what]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_str)
                .collect();
            assert!(values.len() >= least, "{what}: {values:?}");
            self.add_some(what, values);
        }

        let people = visitor.control("bankid/people").await;
        let people = people.as_array().unwrap();
        for (what, member) in [
            ("national id", "nationalId"),
            ("name", "givenName"),
            ("name", "familyName"),
        ] {
            let of = |key: &str| {
                people.iter().find(|person| person["key"] == key).unwrap()[member]
                    .as_str()
                    .unwrap()
            };
            self.add_some(what, [of("anna"), of("marko")]);
        }

        let sumsub = visitor.control("journal/sumsub").await;
        self.add_some("e-mail", members(&sumsub, "email"));
        members(&sumsub, "externalUserId")[0].clone_into(&mut self.a_user);

        let neonomics = visitor.control("journal/neonomics").await;
        self.add_some("creditor's IBAN", members(&neonomics, "iban"));
        self.add_some("creditor", members(&neonomics, "creditorName"));
        self.add_some("consent", members(&neonomics, "consent-id"));
        let states: Vec<_> = members(&neonomics, "tpp-redirect-uri")
            .into_iter()
            .map(state_of)
            .collect();
        assert!(states.len() >= 2, "the consent's and the payment's: {states:?}");
        self.add_some("bank callback's state", states.iter().map(String::as_str));
        let accounts = visitor.control("neonomics/accounts").await;
        self.add_some("debtor's IBAN", members(&accounts, "iban"));
        self.add_some("debtor's BBAN", members(&accounts, "bban"));
    }

    /// Those that are in the text, as they are, as a part of a token, or as an address writes them.
    pub(crate) fn found_in(&self, text: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut found = BTreeMap::new();
        for (what, values) in &self.values {
            let here: BTreeSet<_> = values
                .iter()
                .filter(|value| forms(value).iter().any(|form| text.contains(form)))
                .cloned()
                .collect();
            if !here.is_empty() {
                found.insert(what.clone(), here);
            }
        }
        found
    }

    /// Otherwise that none was found would say nothing.
    pub(crate) fn assert_each_would_be_found(&self) {
        for value in self.values.values().flatten() {
            for form in forms(value) {
                assert!(
                    !self.found_in(&format!("INFO a line with x={form} in it")).is_empty(),
                    "{value}"
                );
            }
        }
    }
}

fn forms(value: &str) -> Vec<String> {
    let mut forms = vec![value.to_owned()];
    let encoded = Url::parse_with_params("http://host", [("v", value)]).unwrap();
    forms.push(encoded.query().unwrap()[2..].to_owned());
    if value.starts_with("eyJ") {
        forms.extend(value.split('.').map(str::to_owned));
    }
    forms
}

fn state_of(callback: &str) -> String {
    let url = Url::parse(callback).unwrap();
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap();
    state.1.into_owned()
}

/// The texts of a member, wherever in the document it is.
fn members<'a>(document: &'a Value, name: &str) -> Vec<&'a str> {
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
