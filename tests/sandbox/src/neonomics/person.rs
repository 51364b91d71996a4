//! What the person decides at the bank, applied to consents and payments.

use super::{Neonomics, State, progress};
use crate::{bank::Decision, journal::Effect, locked};

/// What the bank's page has to know about a consent or payment.
#[derive(Debug, Clone)]
pub(crate) struct Matter {
    /// Whether there is still something to decide.
    pub(crate) open: bool,
    /// Label and value, in the order of the page.
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) redirect: String,
    pub(crate) nok_redirect: String,
}

impl Neonomics {
    /// The payment as the person sees it.
    pub(crate) fn payment_matter(&self, id: &str) -> Option<Matter> {
        let payment = self.payment(id)?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let creditor = &payment.order["creditorAccount"];
        let amount = &payment.order["instructedAmount"];
        Some(Matter {
            open: !payment.approved && !progress::is_final(&payment.status),
            facts: vec![
                (
                    "Amount",
                    format!("{} {}", text(&amount["amount"]), text(&amount["currency"])),
                ),
                ("From account", payment.debtor_iban.clone()),
                ("To", text(&payment.order["creditorName"])),
                ("To account", text(creditor.get("iban").unwrap_or(&creditor["bban"]))),
                ("Message", text(&payment.order["remittanceInformationUnstructured"])),
            ],
            redirect: payment.redirect,
            nok_redirect: payment.nok_redirect,
        })
    }

    /// The consent as the person sees it.
    pub(crate) fn consent_matter(&self, id: &str) -> Option<Matter> {
        let consent = self.consent(id)?;
        let accounts: Vec<_> = self
            .accounts()
            .into_iter()
            .map(|account| format!("{} ({})", account.iban, account.name))
            .collect();
        Some(Matter {
            open: consent.status == "received",
            facts: vec![
                ("Who asks", "Drop".to_owned()),
                ("For", "accounts and balances".to_owned()),
                ("Accounts", accounts.join(", ")),
                ("Until", consent.valid_until.to_string()),
            ],
            redirect: consent.redirect,
            nok_redirect: consent.nok_redirect,
        })
    }

    /// Applies a decision to a payment that is still open; walking away changes nothing.
    pub(crate) fn decide_payment(&self, id: &str, decision: Decision) -> Vec<Effect> {
        let mut state = locked(&self.state);
        match decision {
            Decision::Approve => progress::approve(&mut state, &self.shared.clock, id),
            Decision::Reject => state.payments.get_mut(id).map(progress::reject).into_iter().collect(),
            Decision::Leave => Vec::new(),
        }
    }

    /// Applies a decision to a consent that is still open; walking away changes nothing.
    pub(crate) fn decide_consent(&self, id: &str, decision: Decision) -> Vec<Effect> {
        let mut state = locked(&self.state);
        let (status, effect) = match decision {
            Decision::Approve => ("valid", "consent_approved"),
            Decision::Reject => ("rejected", "consent_rejected"),
            Decision::Leave => return Vec::new(),
        };
        if decision == Decision::Approve {
            end_older(&mut state, id);
        }
        let Some(consent) = state.consents.get_mut(id) else {
            return Vec::new();
        };
        status.clone_into(&mut consent.status);
        vec![Effect::new(effect, id, "")]
    }
}

fn end_older(state: &mut State, id: &str) {
    let recurring = state.consents.get(id).is_some_and(|consent| consent.recurring);
    if !state.settings.new_consent_ends_older || !recurring {
        return;
    }
    let older = state
        .consents
        .values_mut()
        .filter(|consent| consent.id != id && consent.recurring && consent.status == "valid");
    older.for_each(|consent| "terminatedByTpp".clone_into(&mut consent.status));
}
