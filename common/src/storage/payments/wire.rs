//! What only the request to the bank may hold of a payment.

use secrecy::SecretString;
use sqlx::PgExecutor;
use uuid::Uuid;

use super::{super::StorageError, Payment};
use crate::{domain::ids::ConsentId, keyring::Keyring};

/// The account numbers and the redirect state that the bank's request carries.
pub struct Wire {
    pub debtor: SecretString,
    pub creditor: SecretString,
    pub state: Option<SecretString>,
    /// The consent under which the account is linked.
    pub consent: ConsentId,
}

/// The same as it is stored.
pub(super) struct SealedWire {
    pub(super) debtor: Vec<u8>,
    pub(super) creditor: Vec<u8>,
    pub(super) state: Option<Vec<u8>>,
    pub(super) consent: ConsentId,
}

impl SealedWire {
    pub(super) fn open(self, keys: &Keyring, payment: &Payment) -> Result<Wire, StorageError> {
        let open =
            |column: &str, row: Uuid, sealed: &[u8]| keys.open_text(column, row, sealed).map_err(StorageError::corrupt);
        let (id, account) = (payment.id.uuid(), payment.account.uuid());
        let state = self
            .state
            .map(|sealed| open("transactions.callback_state_sealed", id, &sealed));
        Ok(Wire {
            debtor: open("bank_accounts.account_sealed", account, &self.debtor)?,
            creditor: open("transactions.creditor_account_sealed", id, &self.creditor)?,
            state: state.transpose()?,
            consent: self.consent,
        })
    }
}

/// Opens what only the request to the bank may hold.
pub async fn wire(db: impl PgExecutor<'_>, keys: &Keyring, payment: &Payment) -> Result<Wire, StorageError> {
    let row = sqlx::query!(
        r#"SELECT t.creditor_account_sealed, t.callback_state_sealed, a.account_sealed, a.consent_id AS "consent: ConsentId"
             FROM transactions t JOIN bank_accounts a ON a.id = t.account_id WHERE t.id = $1"#,
        payment.id.uuid()
    )
    .fetch_one(db)
    .await?;
    let sealed = SealedWire {
        debtor: row.account_sealed,
        creditor: row.creditor_account_sealed,
        state: row.callback_state_sealed,
        consent: row.consent,
    };
    sealed.open(keys, payment)
}
