//! Payments.

use drop_common::storage::payments::{self, InReview, Listed};
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    payload::Json,
};

use super::{
    Because, Changed, Chapter, Shown,
    caller::{Operator, Viewer},
    fifty,
    looks::{id_in_path, id_in_query},
    problem::Refused,
};
use crate::operator::{
    actions,
    answers::{self, PaymentStory},
    payments::final_code,
};

/// The operations.
pub(super) struct Payments;

/// What the bank has said of a payment, and why that is written here.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
struct LastWord {
    /// The bank's final code: ACSC, ACCC, RJCT or CANC. Either this or `never_arrived`.
    bank_status: Option<String>,
    /// The bank has no such payment and will not get one.
    #[oai(default)]
    never_arrived: bool,
    /// Why; names no person.
    reason: String,
}

/// The bank's id of a payment, and why it is written here.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
struct KnownAs {
    /// The bank's id of it.
    payment_id: String,
    /// Why; names no person.
    reason: String,
}

#[OpenApi(prefix_path = "/operator/api", tag = "Chapter::Ops")]
impl Payments {
    /// List payments.
    ///
    /// The newest first; nothing of whom they pay or how much.
    #[oai(path = "/payments", method = "get", operation_id = "listPayments")]
    async fn newest(
        &self,
        viewer: Viewer,
        /// Only those of this person, `usr_…`.
        user: Query<Option<String>>,
        /// Only payments older than this one, `tx_…`: the last one of the answer before.
        before: Query<Option<String>>,
        /// At most so many.
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
    ) -> Result<Shown<Vec<Listed>>, Refused> {
        let (user, before) = (id_in_query(user.0.as_deref())?, id_in_query(before.0.as_deref())?);
        Ok(Shown(
            payments::newest(&viewer.context.db, user, before, limit.0.into()).await?,
        ))
    }

    /// List the payments that wait for a person.
    ///
    /// The oldest first, with why.
    #[oai(path = "/payments/review", method = "get", operation_id = "listPaymentsInReview")]
    async fn in_review(
        &self,
        viewer: Viewer,
        /// Only payments behind this one, `tx_…`: the last one of the answer before.
        after: Query<Option<String>>,
        /// At most so many.
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
    ) -> Result<Shown<Vec<InReview>>, Refused> {
        let after = id_in_query(after.0.as_deref())?;
        Ok(Shown(
            payments::in_review(&viewer.context.db, after, limit.0.into()).await?,
        ))
    }

    /// Tell a payment's story.
    ///
    /// How it stands, and all that is known to have happened to it, oldest first.
    #[oai(path = "/payments/:id", method = "get", operation_id = "showPayment")]
    async fn show(
        &self,
        viewer: Viewer,
        /// The transaction, `tx_…`.
        id: Path<String>,
    ) -> Result<Shown<PaymentStory>, Refused> {
        let told = answers::payment_story(&viewer.context.db, id_in_path(&id)?).await?;
        told.map(Shown).ok_or_else(Refused::not_found)
    }

    /// End a payment's review.
    ///
    /// With the bank's final word, or with the certainty that it never got there.
    #[oai(path = "/payments/:id/settle", method = "post", operation_id = "settlePayment")]
    async fn settle(
        &self,
        operator: Operator,
        /// The transaction, `tx_…`.
        id: Path<String>,
        word: Json<LastWord>,
    ) -> Result<Shown<Changed>, Refused> {
        let by = operator.because(&word.reason)?;
        let code = match (word.bank_status.as_deref(), word.never_arrived) {
            (Some(code), false) => {
                let code = final_code(code);
                Some(code.map_err(|_| Refused::unusable("That is no last word of a bank."))?)
            }
            (None, true) => None,
            (Some(_), true) | (None, false) => {
                return Err(Refused::unusable(
                    "Either the bank's last word or never_arrived is needed.",
                ));
            }
        };
        let context = &operator.context;
        actions::payments::settle(&context.db, &context.metrics, id_in_path(&id)?, code, &by).await?;
        Ok(operator.done("payment.settled", 1))
    }

    /// Have the bank asked about a payment until it ends it.
    ///
    /// The bank has it under this id, and has not ended it.
    #[oai(path = "/payments/:id/track", method = "post", operation_id = "trackPayment")]
    async fn track(
        &self,
        operator: Operator,
        /// The transaction, `tx_…`.
        id: Path<String>,
        known_as: Json<KnownAs>,
    ) -> Result<Shown<Changed>, Refused> {
        let by = operator.because(&known_as.reason)?;
        let context = &operator.context;
        let config = &context.settings.payments;
        actions::payments::track(&context.db, config, id_in_path(&id)?, &known_as.payment_id, &by).await?;
        Ok(operator.done("payment.tracked", 1))
    }

    /// Send a payment again.
    ///
    /// Under the same X-Request-ID, where the bank failed on every attempt and has no such payment.
    #[oai(path = "/payments/:id/retry", method = "post", operation_id = "retryPayment")]
    async fn retry(
        &self,
        operator: Operator,
        /// The transaction, `tx_…`.
        id: Path<String>,
        because: Json<Because>,
    ) -> Result<Shown<Changed>, Refused> {
        let by = operator.because(&because.reason)?;
        let context = &operator.context;
        actions::payments::retry(&context.db, &context.settings.payments, id_in_path(&id)?, &by).await?;
        Ok(operator.done("payment.retried", 1))
    }
}
