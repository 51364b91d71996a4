use std::fmt;

use reqwest::Method;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{CallContext, Neonomics, Redirects, ScaLink, client::Outgoing, errors::success, sca::Links};
use crate::{
    config::BbanWire,
    domain::bank_status::BankStatus,
    providers::{Field, Operation, ProviderError, http::path_segment},
};

/// What is to be paid. Holds personal data, so it has no Debug.
pub struct PaymentOrder<'a> {
    /// The user's account.
    pub debtor_iban: &'a str,
    /// All decimals of the currency, dot: `2010.00`.
    pub amount: &'a str,
    /// ISO 4217.
    pub currency: &'a str,
    /// Who is paid.
    pub creditor_name: &'a str,
    /// Where to.
    pub creditor: Creditor<'a>,
    /// Text for the payee, at most 140 characters.
    pub remittance: Option<&'a str>,
    /// The payment product, as stored with the payment.
    pub product: &'a str,
}

/// The payee's account.
#[derive(Clone, Copy)]
pub enum Creditor<'a> {
    /// Canonical.
    Iban(&'a str),
    /// As the person gave it.
    Bban(&'a str),
}

/// The exact bytes that will be sent, made before the attempt is recorded. The same order gives
/// the same bytes, so a repeated attempt can be checked against the first by its hash.
pub struct PreparedPayment {
    product: String,
    body: Vec<u8>,
    hash: [u8; 32],
}

impl PreparedPayment {
    /// SHA-256 of the body.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }
}

/// The body holds account numbers and names.
impl fmt::Debug for PreparedPayment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedPayment")
            .field("product", &self.product)
            .finish_non_exhaustive()
    }
}

/// A payment that exists at the bank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitiatedPayment {
    /// The bank's id.
    pub payment_id: String,
    /// The bank's word; absent means that it must be read.
    pub status: Option<String>,
    /// Where the user approves.
    pub sca: ScaLink,
}

/// What became of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancellation {
    /// The bank cancelled it.
    Done,
    /// The bank wants the user to approve the cancellation (202).
    NeedsApproval,
}

impl Neonomics {
    /// Turns an order into the bytes to send. Sends nothing.
    pub fn prepare(&self, order: &PaymentOrder<'_>) -> PreparedPayment {
        let (iban, bban) = match order.creditor {
            Creditor::Iban(iban) => (Some(iban.to_owned()), None),
            Creditor::Bban(bban) => (None, Some(self.bban(bban))),
        };
        let body = Order {
            debtor_account: AccountRef {
                iban: Some(order.debtor_iban.to_owned()),
                bban: None,
            },
            instructed_amount: Amount {
                currency: order.currency,
                amount: order.amount,
            },
            creditor_name: order.creditor_name,
            creditor_account: AccountRef { iban, bban },
            remittance_information_unstructured: order.remittance,
        };
        let body = serde_json::to_vec(&body).expect("plain structs of strings serialise");
        PreparedPayment {
            hash: Sha256::digest(&body).into(),
            product: order.product.to_owned(),
            body,
        }
    }

    /// Sends a prepared payment once. `context.request_id` is its idempotency key on every attempt.
    /// `consent_id` goes along where there is a consent to payments.
    pub async fn send(
        &self,
        payment: &PreparedPayment,
        consent_id: Option<&str>,
        redirects: Redirects<'_>,
        context: &CallContext,
    ) -> Result<InitiatedPayment, ProviderError> {
        let path = format!("/v1/payments/{}", path_segment(&payment.product)?);
        let mut outgoing = Outgoing::new(Operation::PaymentInitiate, Method::POST, path).with_redirects(redirects)?;
        if let Some(consent_id) = consent_id {
            outgoing = outgoing.with_consent(consent_id)?;
        }
        outgoing.body.clone_from(&payment.body);
        self.send_with_token(outgoing, context, |reply| {
            let created: Created = success(&reply)?.json()?;
            // Without its id the payment may exist and cannot be asked for: ambiguous, never failed.
            let payment_id = created
                .payment_id
                .filter(|id| !id.is_empty())
                .ok_or(ProviderError::Unreadable {
                    what: "there is no paymentId",
                })?;
            self.meet_status(created.transaction_status.as_deref());
            let sca = created.links.unwrap_or_default().check(&self.config);
            Ok(InitiatedPayment {
                payment_id,
                status: created.transaction_status,
                sca,
            })
        })
        .await
    }

    /// Reads the bank's word for a payment; absent when the bank sent none.
    pub async fn payment_status(
        &self,
        product: &str,
        payment_id: &str,
        context: &CallContext,
    ) -> Result<Option<String>, ProviderError> {
        let path = self.status_path(product, payment_id)?;
        self.send_with_token(
            Outgoing::new(Operation::PaymentStatus, Method::GET, path),
            context,
            |reply| {
                let status: Status = success(&reply)?.json()?;
                self.meet_status(status.transaction_status.as_deref());
                Ok(status.transaction_status)
            },
        )
        .await
    }

    /// Asks the bank to cancel a payment. A refusal (404, 405, 409) is an error with its status.
    pub async fn cancel_payment(
        &self,
        product: &str,
        payment_id: &str,
        context: &CallContext,
    ) -> Result<Cancellation, ProviderError> {
        let path = self.status_path(product, payment_id)?;
        let path = path.strip_suffix("/status").unwrap_or(&path).to_owned();
        self.send_with_token(
            Outgoing::new(Operation::PaymentCancel, Method::DELETE, path),
            context,
            |reply| match success(&reply)?.status {
                204 => Ok(Cancellation::Done),
                202 => Ok(Cancellation::NeedsApproval),
                // A success that says something else cancelled nothing for sure.
                _ => Err(ProviderError::Unreadable {
                    what: "the cancellation is neither done nor to be approved",
                }),
            },
        )
        .await
    }

    /// Counts a status that is none of ours; it moves no payment.
    pub(super) fn meet_status(&self, status: Option<&str>) {
        if let Some(word) = status
            && word.parse::<BankStatus>().is_err()
        {
            self.unknown(Field::TransactionStatus, word);
        }
    }

    fn status_path(&self, product: &str, payment_id: &str) -> Result<String, ProviderError> {
        let template = self.config.status_path.replace("{product}", &path_segment(product)?);
        Ok(template.replace("{paymentId}", &path_segment(payment_id)?))
    }

    fn bban(&self, bban: &str) -> String {
        match self.config.bban_wire {
            BbanWire::AsGiven => bban.to_owned(),
            BbanWire::Stripped => bban.chars().filter(char::is_ascii_alphanumeric).collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Order<'a> {
    debtor_account: AccountRef,
    instructed_amount: Amount<'a>,
    creditor_name: &'a str,
    creditor_account: AccountRef,
    #[serde(skip_serializing_if = "Option::is_none")]
    remittance_information_unstructured: Option<&'a str>,
}

#[derive(Serialize)]
struct AccountRef {
    #[serde(skip_serializing_if = "Option::is_none")]
    iban: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bban: Option<String>,
}

#[derive(Serialize)]
struct Amount<'a> {
    currency: &'a str,
    amount: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    payment_id: Option<String>,
    #[serde(default, deserialize_with = "if_readable")]
    transaction_status: Option<String>,
    #[serde(rename = "_links", default, deserialize_with = "if_readable")]
    links: Option<Links>,
}

/// With its id a payment can be asked for: what else the answer says in another form than it should is read later.
fn if_readable<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(from)?).ok())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    transaction_status: Option<String>,
}
