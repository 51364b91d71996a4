//! Nothing that is secret or of a person is in what the service says or stores, whatever a test has done.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    app::TestApp,
    canaries::{Canaries, SECRETS},
    cluster::DATABASE_PASSWORD,
    dump, handed_out, said,
};

/// The columns that may hold a value in plain, of which kind it may be, and why.
const IN_PLAIN: [(&str, &str, &str); 7] = [
    (
        "users.first_name",
        "name",
        "a person is called by it, and the law wants it kept with their check",
    ),
    ("users.last_name", "name", "the same"),
    (
        "transactions.creditor_name",
        "creditor",
        "the payee's name is a part of the order, which its person is shown and the law wants kept",
    ),
    ("transactions.creditor_name", "name", "people pay one another"),
    (
        "restricted.records.record",
        "name",
        "what the law wants kept of whoever was erased, as it was",
    ),
    ("restricted.records.record", "creditor", "the same"),
    (
        "bank_consents.sca_redirect",
        "consent",
        "the bank's own page for the approval, to which its person is sent; a bank may name the consent in it",
    ),
];

/// Where something was found: what it is, and the values.
pub type Found = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

impl TestApp {
    /// Fails if one of this test's canaries is in what was said since it began, or in plain in the database.
    pub(crate) async fn check_what_was_kept_secret(&self, since: usize) {
        let canaries = self.canaries().await;
        let found = self.found_in_what_was_said(&canaries, since).await;
        assert_eq!(found, BTreeMap::new(), "somebody said it");
        assert_eq!(self.found_in_the_database(&canaries).await, Found::new());
    }

    /// Those that were said since, by this process, by processes of their own, or to Prometheus.
    pub async fn found_in_what_was_said(
        &self,
        canaries: &Canaries,
        since: usize,
    ) -> BTreeMap<String, BTreeSet<String>> {
        canaries.found_in(&(said::since(since) + &self.processes_said() + &self.metrics().await))
    }

    /// What everybody told each other in confidence so far, and the secrets of the configuration.
    pub async fn canaries(&self) -> Canaries {
        let mut canaries = Canaries::default();
        let control = format!("{}/control", self.sandbox.url());
        canaries.add_what_the_providers_know(&control).await;
        let names = "SELECT name FROM users, unnest(ARRAY[first_name, last_name]) name WHERE char_length(name) >= 2";
        let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&self.db).await.expect("names");
        for name in names {
            // A short one is a part of many words.
            if name.chars().count() < 5 {
                canaries.add_word("name", &name);
            } else {
                canaries.add("name", &name);
            }
        }
        for (what, value) in handed_out::by(&self.url) {
            canaries.add(what, &value);
        }
        for name in SECRETS {
            if let Some(value) = self.variable(name) {
                canaries.add_secret(name, &value);
            }
        }
        canaries.add_secret("DATABASE_URL", DATABASE_PASSWORD);
        canaries
    }

    /// The columns in which they are in plain, but for those that may hold them.
    pub async fn found_in_the_database(&self, canaries: &Canaries) -> Found {
        let (dump, mut found) = (dump::of(&self.db).await, Found::new());
        let everything: String = dump.values().map(String::as_str).collect();
        let search = canaries.search();
        if search.found_in(&everything).is_empty() {
            return found;
        }
        for (column, text) in dump {
            let mut here = search.found_in(&text);
            here.retain(|what, _| !IN_PLAIN.iter().any(|(place, kind, _)| *place == column && kind == what));
            if !here.is_empty() {
                found.insert(column, here);
            }
        }
        found
    }

    /// How many processes are asked what they tell Prometheus.
    pub async fn processes_that_can_be_scraped(&self) -> usize {
        self.internal_listeners().await.len()
    }

    /// What the processes tell Prometheus, as far as they still run.
    async fn metrics(&self) -> String {
        let mut metrics = String::new();
        for internal in self.internal_listeners().await {
            let request = crate::person::browser().get(format!("{internal}/metrics"));
            // One that a test has stopped answers nothing.
            let answer = request.timeout(Duration::from_secs(2)).send().await;
            if let Ok(answer) = answer {
                metrics.push_str(&answer.text().await.unwrap_or_default());
            }
        }
        metrics
    }
}
