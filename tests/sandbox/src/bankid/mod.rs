//! BankID, simulated: an OIDC provider with test people in place of users.

mod authorize;
mod keys;
mod people;
mod redeem;
mod token;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use anyhow::Context as _;
use reqwest::Url;
use serde_json::{Value, json};

use self::{authorize::Grant, keys::Keys};
use crate::{
    call::{Call, Reply},
    config::SandboxConfig,
    encoding::form_pairs,
    journal::Entry,
    locked,
    operation::{Operation, Provider},
    shared::Shared,
};

pub use self::{
    authorize::Parameter,
    keys::Algorithm,
    people::Person,
    token::{Forgery, Mutation},
};

/// What the real provider promises for its keys, in seconds, as seen in its answers.
const KEYS_MAX_AGE: u64 = 23_269;

struct State {
    keys: Keys,
    algorithm: Algorithm,
    keys_max_age: Option<u64>,
    people: Vec<Person>,
    redirect_uris: Vec<String>,
    grants: HashMap<String, Grant>,
    always: Vec<Mutation>,
    next: VecDeque<Vec<Mutation>>,
    next_return: VecDeque<Vec<Parameter>>,
    ignores_pkce: bool,
    /// The client's secrets, each as good as the others.
    client_secrets: Vec<String>,
}

/// The simulated provider; its methods are what a test can do to it.
pub struct BankId {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

impl BankId {
    pub(crate) fn new(shared: Arc<Shared>) -> anyhow::Result<Self> {
        let state = Mutex::new(State::new(&shared.config)?);
        Ok(Self { shared, state })
    }

    pub(crate) fn answer(&self, operation: Operation, call: &Call) -> Reply {
        match operation {
            Operation::BankidAuth => authorize::authorize(self, &call.query_pairs()),
            Operation::BankidToken => redeem::redeem(self, call),
            Operation::BankidCerts => self.certs(),
            _ => Reply::json(200, &self.discovery()),
        }
    }

    /// The issuer identifier: put it in the client's settings.
    pub fn issuer(&self) -> String {
        self.shared.bankid_issuer()
    }

    /// Signs a person in at the address the client was sent to and returns where BankID sends the browser then.
    /// The key `cancel` is a person who gives up.
    pub fn sign_in(&self, authorization_url: &str, person: &str) -> anyhow::Result<String> {
        let url = Url::parse(authorization_url).context("not an address")?;
        let mut query = form_pairs(url.query().unwrap_or_default());
        query.push(("person".to_owned(), person.to_owned()));
        let reply = authorize::authorize(self, &query);
        self.shared.journal.record_effects(Provider::Bankid, &reply.effects);
        reply
            .location()
            .map(str::to_owned)
            .context("BankID shows its own error page: client, redirect address or person is unknown")
    }

    /// Registers one more redirect address, for a client whose port is known only after the sandbox has started.
    pub fn register_redirect_uri(&self, uri: &str) {
        locked(&self.state).redirect_uris.push(uri.to_owned());
    }

    /// Everybody who can sign in.
    pub fn people(&self) -> Vec<Person> {
        locked(&self.state).people.clone()
    }

    /// The person of that key.
    pub fn person(&self, key: &str) -> Option<Person> {
        locked(&self.state)
            .people
            .iter()
            .find(|person| person.key == key)
            .cloned()
    }

    /// Adds a person, or replaces the one of the same key.
    pub fn add_person(&self, person: Person) {
        let people = &mut locked(&self.state).people;
        people.retain(|known| known.key != person.key);
        people.push(person);
    }

    /// Signs with another key from now on. Without `keep_old` the old one is no longer published.
    pub fn rotate_keys(&self, keep_old: bool) -> anyhow::Result<()> {
        locked(&self.state).keys.rotate(keep_old)
    }

    /// Publishes the key that the next rotation will use.
    pub fn publish_next_key(&self) -> anyhow::Result<()> {
        locked(&self.state).keys.publish_next()
    }

    /// Chooses what tokens are signed with.
    pub fn sign_with(&self, algorithm: Algorithm) {
        locked(&self.state).algorithm = algorithm;
    }

    /// The `max-age` in seconds that comes with the keys; `None` sends no such header.
    pub fn set_keys_max_age(&self, seconds: Option<u64>) {
        locked(&self.state).keys_max_age = seconds;
    }

    /// The key set as it is published, for a test to serve another version of it.
    pub fn published_keys(&self) -> Value {
        locked(&self.state).keys.published()
    }

    /// The key of [`Forgery::ByAnotherKey`], under the name of the key in use: what a forger would like to be believed.
    pub fn unpublished_key(&self) -> Value {
        locked(&self.state).keys.unpublished()
    }

    /// The client authenticates itself by one of these from now on.
    pub fn accept_client_secrets(&self, secrets: &[&str]) {
        locked(&self.state).client_secrets = secrets.iter().map(|secret| (*secret).to_owned()).collect();
    }

    /// Whether codes are given out for any verifier, or for none, as a provider does that does not know PKCE.
    pub fn ignore_pkce(&self, ignores: bool) {
        locked(&self.state).ignores_pkce = ignores;
    }

    /// Spoils the next way back to the client that is not yet spoken for.
    pub fn spoil_next_return(&self, parameters: Vec<Parameter>) {
        locked(&self.state).next_return.push_back(parameters);
    }

    /// Spoils the next ID token that is not yet spoken for; call it again for the one after that.
    pub fn spoil_next(&self, mutations: Vec<Mutation>) {
        locked(&self.state).next.push_back(mutations);
    }

    /// Spoils every ID token from now on; an empty list ends it.
    pub fn spoil_always(&self, mutations: Vec<Mutation>) {
        locked(&self.state).always = mutations;
    }

    /// The requests received, oldest first.
    pub fn journal(&self) -> Vec<Entry> {
        self.shared.journal.entries(Provider::Bankid)
    }

    pub(crate) fn reset(&self) -> anyhow::Result<()> {
        *locked(&self.state) = State::new(&self.shared.config)?;
        Ok(())
    }

    fn is_registered(&self, redirect_uri: &str) -> bool {
        locked(&self.state)
            .redirect_uris
            .iter()
            .any(|known| known == redirect_uri)
    }

    fn remember(&self, grant: Grant) -> String {
        let code = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        locked(&self.state).grants.insert(code.clone(), grant);
        code
    }

    fn certs(&self) -> Reply {
        let state = locked(&self.state);
        let reply = Reply::json(200, &state.keys.published());
        match state.keys_max_age {
            Some(seconds) => reply.header("cache-control", &format!("public, max-age={seconds}")),
            None => reply,
        }
    }

    fn discovery(&self) -> Value {
        let issuer = self.issuer();
        let endpoint = |name: &str| format!("{issuer}/protocol/openid-connect/{name}");
        json!({
            "issuer": issuer,
            "authorization_endpoint": endpoint("auth"),
            "token_endpoint": endpoint("token"),
            "jwks_uri": endpoint("certs"),
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "scopes_supported": ["openid", "profile"],
            "id_token_signing_alg_values_supported": ["ES256", "RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "acr_values_supported": ["urn:bankid:bid", "urn:bankid:bis"],
            "authorization_response_iss_parameter_supported": true,
        })
    }
}

impl State {
    fn new(config: &SandboxConfig) -> anyhow::Result<Self> {
        Ok(Self {
            keys: Keys::new()?,
            algorithm: Algorithm::default(),
            keys_max_age: Some(KEYS_MAX_AGE),
            people: people::test_people(),
            redirect_uris: config.redirect_uris.clone(),
            grants: HashMap::new(),
            always: Vec::new(),
            next: VecDeque::new(),
            next_return: VecDeque::new(),
            ignores_pkce: false,
            client_secrets: vec![config.client_secret.clone()],
        })
    }
}
