//! Neonomics, simulated: consents, balances and payments of a Berlin Group bank.

mod access;
mod account;
mod consent;
mod payment;
pub(crate) mod person;
mod progress;
mod reads;
mod refusal;
mod settings;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    call::{Call, Reply},
    faults::Fault,
    journal::Entry,
    locked,
    operation::{Operation, Provider},
    shared::Shared,
};

pub use self::{account::Account, consent::Consent, payment::Payment, settings::BankSettings};

struct State {
    settings: BankSettings,
    tokens: HashMap<String, DateTime<Utc>>,
    consents: BTreeMap<String, Consent>,
    payments: BTreeMap<String, Payment>,
    accounts: Vec<Account>,
    balances_changed: DateTime<Utc>,
    /// By IBAN: the moments of reads without a user in the last 24 hours.
    unattended: HashMap<String, Vec<DateTime<Utc>>>,
    client_secrets: Vec<String>,
}

/// The simulated aggregator and the bank behind it; its methods are what a test can do to them.
pub struct Neonomics {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

impl Neonomics {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let state = Mutex::new(State::new(&shared));
        Self { shared, state }
    }

    pub(crate) fn answer(&self, operation: Operation, call: &Call) -> Reply {
        let reply = self.decided(operation, call);
        // The standard wants it on every answer, refusals included.
        let named = reply.headers.iter().any(|(name, _)| name == "x-request-id");
        match call.header("x-request-id") {
            Some(id) if !named => reply.header("x-request-id", id),
            _ => reply,
        }
    }

    fn decided(&self, operation: Operation, call: &Call) -> Reply {
        match operation {
            Operation::ConsentCreate => consent::create(self, call),
            Operation::ConsentStatus => consent::look(self, call),
            Operation::ConsentDelete => consent::end(self, call),
            Operation::Accounts => reads::accounts(self, call),
            Operation::Balances => reads::balances(self, call),
            Operation::Payment => payment::create(self, call),
            Operation::PaymentStatus | Operation::PaymentRead => progress::look(self, call),
            Operation::PaymentAuthorise => progress::authorise(self, call),
            Operation::PaymentCancel => progress::cancel(self, call),
            _ => access::token(self, call),
        }
    }

    /// The address to put before `/v1/…` and `/auth/token`.
    pub fn base_url(&self) -> String {
        format!("{}/neonomics", self.shared.url)
    }

    /// How the bank behaves now.
    pub fn settings(&self) -> BankSettings {
        locked(&self.state).settings.clone()
    }

    /// Changes how the bank behaves.
    pub fn configure(&self, change: impl FnOnce(&mut BankSettings)) {
        change(&mut locked(&self.state).settings);
    }

    /// Answers the next payment orders with a bare status.
    pub fn fail_next(&self, times: u32, code: u16) {
        self.shared
            .faults
            .add(Operation::Payment, Fault::status(code), Some(times));
    }

    /// How many payments exist for an idempotency key, however many requests carried it.
    pub fn orders_for(&self, idempotency_key: &str) -> usize {
        // However the caller writes the UUID: with or without hyphens, in either case.
        let key = Uuid::try_parse(idempotency_key).map_or_else(|_| idempotency_key.to_owned(), |key| key.to_string());
        locked(&self.state)
            .payments
            .values()
            .filter(|payment| payment.request_id == key)
            .count()
    }

    /// Every payment.
    pub fn payments(&self) -> Vec<Payment> {
        locked(&self.state).payments.values().cloned().collect()
    }

    /// One payment.
    pub fn payment(&self, id: &str) -> Option<Payment> {
        locked(&self.state).payments.get(id).cloned()
    }

    /// Puts a payment into a state, whatever it was; `ACSC` moves the money.
    pub fn set_payment_status(&self, id: &str, code: &str) -> anyhow::Result<()> {
        let mut state = locked(&self.state);
        let payment = state.payments.get_mut(id).context("no such payment")?;
        payment.ahead.clear();
        let effects = progress::enter(&mut state, &self.shared.clock, id, code);
        self.shared.journal.record_effects(Provider::Neonomics, &effects);
        Ok(())
    }

    /// Every consent.
    pub fn consents(&self) -> Vec<Consent> {
        locked(&self.state).consents.values().cloned().collect()
    }

    /// One consent.
    pub fn consent(&self, id: &str) -> Option<Consent> {
        locked(&self.state).consents.get(id).cloned()
    }

    /// Puts a consent into a state, for instance `expired` or `revokedByPsu`.
    pub fn set_consent_status(&self, id: &str, status: &str) -> anyhow::Result<()> {
        let mut state = locked(&self.state);
        let consent = state.consents.get_mut(id).context("no such consent")?;
        status.clone_into(&mut consent.status);
        Ok(())
    }

    /// The person's accounts with what is on them.
    pub fn accounts(&self) -> Vec<Account> {
        locked(&self.state).accounts.clone()
    }

    /// Replaces the person's accounts.
    pub fn set_accounts(&self, accounts: Vec<Account>) {
        let mut state = locked(&self.state);
        state.accounts = accounts;
        state.balances_changed = self.shared.clock.now();
    }

    /// Sets what is on an account, in hundredths of its currency.
    pub fn set_balance(&self, iban: &str, minor: i64) -> anyhow::Result<()> {
        let mut state = locked(&self.state);
        let account = state
            .accounts
            .iter_mut()
            .find(|account| account.iban == iban)
            .context("no such account")?;
        account.minor = minor;
        state.balances_changed = self.shared.clock.now();
        Ok(())
    }

    /// The client is given access tokens for one of these secrets from now on.
    pub fn accept_client_secrets(&self, secrets: &[&str]) {
        locked(&self.state).client_secrets = secrets.iter().map(|secret| (*secret).to_owned()).collect();
    }

    /// Ends every access token given out so far.
    pub fn expire_tokens(&self) {
        let now = self.shared.clock.now();
        locked(&self.state).tokens.values_mut().for_each(|ends| *ends = now);
    }

    /// The requests received, oldest first.
    pub fn journal(&self) -> Vec<Entry> {
        self.shared.journal.entries(Provider::Neonomics)
    }

    pub(crate) fn reset(&self) {
        *locked(&self.state) = State::new(&self.shared);
    }
}

impl State {
    fn new(shared: &Shared) -> Self {
        Self {
            settings: BankSettings::default(),
            tokens: HashMap::new(),
            consents: BTreeMap::new(),
            payments: BTreeMap::new(),
            accounts: vec![Account::of_the_contract()],
            balances_changed: shared.clock.now(),
            unattended: HashMap::new(),
            client_secrets: vec![shared.config.neonomics_client_secret.clone()],
        }
    }
}
