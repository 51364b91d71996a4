//! The bank's own pages, where the person approves, rejects or walks away.

use std::{fmt::Write as _, sync::Arc};

use anyhow::{Context as _, bail};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::{
    call::{Call, Reply, single},
    encoding::{html_escape, with_query},
    journal::Entry,
    neonomics::{Neonomics, person::Matter},
    operation::{Operation, Provider},
    page::page,
    shared::Shared,
};

/// What the person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Approves; the bank sends the browser back.
    Approve,
    /// Rejects; the bank sends the browser back.
    Reject,
    /// Closes the page; nobody hears of it.
    Leave,
}

#[derive(Debug, Clone, Copy)]
enum Subject {
    Consent,
    Payment,
}

/// The bank's pages; its methods act as the person in front of them.
pub struct Bank {
    shared: Arc<Shared>,
    neonomics: Arc<Neonomics>,
}

impl Bank {
    pub(crate) fn new(shared: Arc<Shared>, neonomics: Arc<Neonomics>) -> Self {
        Self { shared, neonomics }
    }

    pub(crate) fn answer(&self, operation: Operation, call: &Call) -> Reply {
        let subject = if call.segment(1) == "consents" {
            Subject::Consent
        } else {
            Subject::Payment
        };
        let id = call.segment(2);
        let Some(matter) = self.matter(subject, &id) else {
            return Reply::html(404, page("Nothing here", "<p>The bank does not know this address.</p>"));
        };
        if !matter.open {
            return Reply::html(
                409,
                page(
                    "Nothing left to decide",
                    "<p>This was decided before, or withdrawn.</p>",
                ),
            );
        }
        if operation == Operation::ScaPage {
            return Reply::html(200, form(subject, &matter));
        }
        let decision = call.form().and_then(|form| match single(&form, "decision")? {
            "approve" => Some(Decision::Approve),
            "reject" => Some(Decision::Reject),
            "leave" => Some(Decision::Leave),
            _ => None,
        });
        match decision {
            Some(decision) => self.decided(subject, &id, &matter, decision),
            None => Reply::html(400, page("No decision", "<p>Approve, reject or leave.</p>")),
        }
    }

    /// Decides at the address the client was given (`scaRedirect`) and returns where the bank sends the browser then:
    /// nowhere when the person walks away.
    pub fn decide_at(&self, sca_redirect: &str, decision: Decision) -> anyhow::Result<Option<String>> {
        let url = Url::parse(sca_redirect).context("not an address")?;
        let segments: Vec<_> = url.path().split('/').collect();
        match segments.as_slice() {
            [.., "consents", id] => self.decide(Subject::Consent, id, decision),
            [.., "payments", id] => self.decide(Subject::Payment, id, decision),
            _ => bail!("not an address of this bank"),
        }
    }

    /// Decides about a payment by its id; see [`Bank::decide_at`].
    pub fn decide_payment(&self, id: &str, decision: Decision) -> anyhow::Result<Option<String>> {
        self.decide(Subject::Payment, id, decision)
    }

    /// Decides about a consent by its id; see [`Bank::decide_at`].
    pub fn decide_consent(&self, id: &str, decision: Decision) -> anyhow::Result<Option<String>> {
        self.decide(Subject::Consent, id, decision)
    }

    /// The requests received, oldest first.
    pub fn journal(&self) -> Vec<Entry> {
        self.shared.journal.entries(Provider::Bank)
    }

    fn decide(&self, subject: Subject, id: &str, decision: Decision) -> anyhow::Result<Option<String>> {
        let matter = self.matter(subject, id).context("the bank does not know this id")?;
        if !matter.open {
            bail!("this was decided before, or withdrawn");
        }
        let reply = self.decided(subject, id, &matter, decision);
        self.shared.journal.record_effects(Provider::Bank, &reply.effects);
        Ok(reply.location().map(str::to_owned))
    }

    fn matter(&self, subject: Subject, id: &str) -> Option<Matter> {
        match subject {
            Subject::Consent => self.neonomics.consent_matter(id),
            Subject::Payment => self.neonomics.payment_matter(id),
        }
    }

    fn decided(&self, subject: Subject, id: &str, matter: &Matter, decision: Decision) -> Reply {
        let (name, effects) = match subject {
            Subject::Consent => ("consentId", self.neonomics.decide_consent(id, decision)),
            Subject::Payment => ("paymentId", self.neonomics.decide_payment(id, decision)),
        };
        let reply = match decision {
            Decision::Approve => Reply::see_other(&with_query(&matter.redirect, &[(name, id)])),
            Decision::Reject => Reply::see_other(&with_query(&matter.nok_redirect, &[(name, id)])),
            Decision::Leave => Reply::html(200, page("You have left the bank", "<p>Nothing was approved.</p>")),
        };
        effects.into_iter().fold(reply, Reply::effect)
    }
}

fn form(subject: Subject, matter: &Matter) -> String {
    let mut content = String::from("<dl>\n");
    for (label, value) in &matter.facts {
        writeln!(content, "<dt>{label}</dt><dd>{}</dd>", html_escape(value)).expect("writing to a String cannot fail");
    }
    content += "</dl>\n<form method=\"post\">\n\
        <button name=\"decision\" value=\"approve\">Approve</button>\n\
        <button name=\"decision\" value=\"reject\">Reject</button>\n\
        <button name=\"decision\" value=\"leave\">Leave</button>\n</form>";
    let title = match subject {
        Subject::Consent => "Give access to your accounts?",
        Subject::Payment => "Approve this payment?",
    };
    page(title, &content)
}
