//! What some banks make necessary beside a payment's status: reading the payment itself, and starting its approval.

use chrono::NaiveDate;
use reqwest::Method;
use serde::Deserialize;

use super::{CallContext, Neonomics, Redirects, ScaLink, client::Outgoing, errors::success, sca::Links};
use crate::providers::{Operation, ProviderError, http::path_segment};

/// An order as the bank has it, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderAtBank {
    /// A decimal number.
    pub amount: String,
    /// ISO 4217.
    pub currency: String,
    /// On which day it will be paid, if the bank says so.
    pub execution_date: Option<NaiveDate>,
}

impl Neonomics {
    /// Reads a payment as the bank has it.
    pub async fn payment(
        &self,
        product: &str,
        payment_id: &str,
        context: &CallContext,
    ) -> Result<OrderAtBank, ProviderError> {
        let path = self.payment_path(product, payment_id)?;
        self.send_with_token(
            Outgoing::new(Operation::PaymentRead, Method::GET, path),
            context,
            |reply| {
                let payment: Payment = success(&reply)?.json()?;
                Ok(OrderAtBank {
                    amount: payment.instructed_amount.amount,
                    currency: payment.instructed_amount.currency,
                    execution_date: payment.requested_execution_date,
                })
            },
        )
        .await
    }

    /// Starts the approval of a payment whose bank wants a call for that, and gives the link to it. The address is made as
    /// all others are, not taken from the bank's link, so that no answer decides where our token goes.
    pub async fn start_authorisation(
        &self,
        product: &str,
        payment_id: &str,
        redirects: Redirects<'_>,
        context: &CallContext,
    ) -> Result<ScaLink, ProviderError> {
        let path = format!("{}/authorisations", self.payment_path(product, payment_id)?);
        let mut outgoing = Outgoing::new(Operation::PaymentAuthorise, Method::POST, path).with_redirects(redirects)?;
        outgoing.body = b"{}".to_vec();
        self.send_with_token(outgoing, context, |reply| {
            let started: Started = success(&reply)?.json()?;
            Ok(started.links.unwrap_or_default().check(&self.config))
        })
        .await
    }

    fn payment_path(&self, product: &str, payment_id: &str) -> Result<String, ProviderError> {
        let template = self.config.payment_path.replace("{product}", &path_segment(product)?);
        Ok(template.replace("{paymentId}", &path_segment(payment_id)?))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payment {
    instructed_amount: Amount,
    requested_execution_date: Option<NaiveDate>,
}

#[derive(Deserialize)]
struct Amount {
    currency: String,
    amount: String,
}

#[derive(Deserialize)]
struct Started {
    #[serde(rename = "_links")]
    links: Option<Links>,
}
