//! How this bank behaves; each field can be changed while the sandbox runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The bank's habits. The default is the contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent habits of a bank, each switched by name in JSON"
)]
pub struct BankSettings {
    /// A payment sent again under its `X-Request-ID` is the same payment. The standard does not promise it.
    pub deduplicate: bool,
    /// The `transactionStatus` of a new payment.
    pub initial_status: String,
    /// The codes after the person's approval, one more with each status read.
    pub progression: Vec<String>,
    /// The balance types an account reports, all with the same amount.
    pub balance_types: Vec<String>,
    /// The whole balance answer, in place of the usual one.
    pub balance_answer: Option<Value>,
    /// Members of an account, by its IBAN, that the list of accounts shows otherwise; null leaves a member out.
    pub described_otherwise: BTreeMap<String, Map<String, Value>>,
    /// The `_links` of a new consent or payment, in place of the usual ones.
    pub links: Option<Value>,
    /// A payment is approved only after a call that starts that: its answer links to the call in place of the bank's page.
    pub explicit_authorisation: bool,
    /// Members that the answer to a new payment lacks.
    pub left_out: Vec<String>,
    /// Members of an order that the bank has changed, as a read of the payment shows them.
    pub changed_order: Option<Value>,
    /// Life of an access token, seconds.
    pub token_seconds: i64,
    /// Unattended reads an account allows in any 24 hours (RTS Art. 36(5)(b)).
    pub unattended_reads: usize,
    /// `PSU-IP-Address` is mandatory on new consents and payments, as the standard says.
    pub require_psu_address: bool,
    /// An authorised recurring consent ends the older ones, as at a bank with one user.
    pub new_consent_ends_older: bool,
    /// Days a consent lives at most; the bank shortens `validUntil` to it.
    pub consent_days: i64,
    /// The HTTP status of an expired consent: 403 by the contract, 401 by the standard.
    pub consent_expired_status: u16,
    /// A payment that the person has approved is cancelled all the same, until it is executed.
    pub withdraws_approved: bool,
    /// A cancellation needs the person's approval too: 202 in place of 204, and nothing is cancelled.
    pub cancel_needs_approval: bool,
    /// A payment that was withdrawn is forgotten: 404 in place of CANC, whatever is asked of it.
    pub forgets_withdrawn: bool,
}

impl Default for BankSettings {
    fn default() -> Self {
        Self {
            deduplicate: true,
            initial_status: "RCVD".to_owned(),
            progression: vec!["ACCP".to_owned(), "ACSC".to_owned()],
            balance_types: vec!["expected".to_owned()],
            balance_answer: None,
            described_otherwise: BTreeMap::new(),
            links: None,
            explicit_authorisation: false,
            left_out: Vec::new(),
            changed_order: None,
            token_seconds: 3600,
            unattended_reads: 4,
            require_psu_address: true,
            new_consent_ends_older: false,
            consent_days: 180,
            consent_expired_status: 403,
            withdraws_approved: false,
            cancel_needs_approval: false,
            forgets_withdrawn: false,
        }
    }
}
