//! Seals anew what a replaced encryption key has sealed, so that this key can go: a batch of rows of one column in each
//! transaction, so that nobody waits long for a row of theirs, and whoever is interrupted begins again where it ended.

use sqlx::{AssertSqlSafe, PgConnection, PgExecutor};
use uuid::Uuid;

use super::{StorageError, Tx};
use crate::{
    domain::account_number::{AccountNumber, Scheme},
    keyring::Keyring,
};

/// Rows in one transaction.
const BATCH: i64 = 500;

/// A sealed column whose values live longer than a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    table: &'static str,
    name: &'static str,
    /// The column of the keyed hash by which the value is found, and the one that says how the number is read.
    index: Option<(&'static str, &'static str)>,
}

impl Column {
    /// All of them. What is sealed for some minutes only is [`SHORT_LIVED`].
    pub const ALL: [Self; 6] = [
        Self::plain("users", "email_sealed"),
        Self::plain("bank_consents", "consent_id_sealed"),
        Self::plain("bank_consents", "callback_state_sealed"),
        Self {
            index: Some(("account_index", "'iban'")),
            ..Self::plain("bank_accounts", "account_sealed")
        },
        Self {
            index: Some(("creditor_account_index", "creditor_scheme")),
            ..Self::plain("transactions", "creditor_account_sealed")
        },
        Self::plain("transactions", "callback_state_sealed"),
    ];

    const fn plain(table: &'static str, name: &'static str) -> Self {
        Self {
            table,
            name,
            index: None,
        }
    }

    /// Its place, as the keyring has it.
    pub fn place(self) -> String {
        format!("{}.{}", self.table, self.name)
    }
}

/// Sealed columns that hold nothing older than a quarter of an hour which anybody opens.
pub const SHORT_LIVED: [&str; 5] = [
    "logins.nonce_sealed",
    "logins.verifier_sealed",
    "logins.code_sealed",
    "refresh_tokens.successor_sealed",
    "kyc_sdk_tokens.token_sealed",
];

/// What a batch did.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// Rows that were sealed anew.
    pub resealed: u64,
    /// Where the next one begins; `None`: this was the last.
    pub next: Option<Uuid>,
}

/// How many values of the column are sealed with another key than the present one.
pub async fn left(db: impl PgExecutor<'_>, keys: &Keyring, column: Column) -> Result<i64, StorageError> {
    let Column { table, name, .. } = column;
    // Names of ours.
    let count = format!("SELECT count(*) FROM {table} WHERE get_byte({name}, 0) <> $1");
    let counted = sqlx::query_scalar(AssertSqlSafe(count)).bind(i32::from(keys.current_id()));
    Ok(counted.fetch_one(db).await?)
}

/// Seals some rows of the column anew, those after this id. A row that somebody holds is left for another pass.
pub async fn reseal(tx: &mut Tx, keys: &Keyring, column: Column, after: Uuid) -> Result<Batch, StorageError> {
    let Column { table, name, index } = column;
    let scheme = index.map_or("NULL", |(_, scheme)| scheme);
    let outdated = format!(
        "SELECT id, {name}, {scheme} FROM {table} WHERE get_byte({name}, 0) <> $1 AND id > $2
          ORDER BY id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED"
    );
    // Without this, no sealed value of a payment may be written otherwise.
    sqlx::query!("SET LOCAL drop.reseal = 'on'").execute(&mut **tx).await?;
    // The last batch goes through the whole table, and nobody waits.
    sqlx::query!("SET LOCAL statement_timeout = '10min'")
        .execute(&mut **tx)
        .await?;
    let rows: Vec<(Uuid, Vec<u8>, Option<String>)> = sqlx::query_as(AssertSqlSafe(outdated))
        .bind(i32::from(keys.current_id()))
        .bind(after)
        .bind(BATCH)
        .fetch_all(&mut **tx)
        .await?;
    for (row, sealed, scheme) in &rows {
        write(tx, keys, column, *row, sealed, scheme.as_deref()).await?;
    }
    Ok(Batch {
        resealed: u64::try_from(rows.len()).unwrap_or(u64::MAX),
        next: rows.last().map(|(row, ..)| *row),
    })
}

async fn write(
    tx: &mut Tx,
    keys: &Keyring,
    column: Column,
    row: Uuid,
    sealed: &[u8],
    scheme: Option<&str>,
) -> Result<(), StorageError> {
    let place = column.place();
    let plain = keys.open(&place, row, sealed).map_err(StorageError::corrupt)?;
    let anew = keys.seal(&place, row, &plain);
    let Column { table, name, index } = column;
    let Some((index, scheme)) = index.map(|(index, _)| index).zip(scheme) else {
        let update = format!("UPDATE {table} SET {name} = $2 WHERE id = $1");
        let update = sqlx::query(AssertSqlSafe(update)).bind(row).bind(anew);
        update.execute(&mut **tx).await?;
        return Ok(());
    };
    let scheme: Scheme = scheme.parse().map_err(StorageError::corrupt)?;
    let text = str::from_utf8(&plain).map_err(StorageError::corrupt)?;
    let number = AccountNumber::parse(scheme, text).map_err(StorageError::corrupt)?;
    let update = format!("UPDATE {table} SET {name} = $2, {index} = $3 WHERE id = $1");
    sqlx::query(AssertSqlSafe(update))
        .bind(row)
        .bind(anew)
        .bind(keys.blind_index("account", number.canonical_secret()).to_vec())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The same with what is kept apart of people who were erased, in all its rows. How many; it needs the retention's role, which
/// may call the two functions for this and nothing else.
pub async fn reseal_kept(db: &mut PgConnection, keys: &Keyring) -> Result<u64, StorageError> {
    let (mut after, mut resealed) = (0, 0);
    loop {
        let batch = sqlx::query!(
            r#"SELECT id AS "id!", class AS "class!", row_id AS "row!", sealed AS "sealed!"
                 FROM restricted.sealed_otherwise($1, $2)"#,
            i32::from(keys.current_id()),
            after
        )
        .fetch_all(&mut *db)
        .await?;
        let Some(last) = batch.last() else { return Ok(resealed) };
        after = last.id;
        for kept in batch {
            let place = match kept.class.as_str() {
                "transactions" => "transactions.creditor_account_sealed",
                _ => "bank_accounts.account_sealed",
            };
            let plain = keys
                .open(place, kept.row, &kept.sealed)
                .map_err(StorageError::corrupt)?;
            let anew = keys.seal(place, kept.row, &plain);
            let done = sqlx::query_scalar!(
                r#"SELECT restricted.reseal($1, $2, $3) AS "done!""#,
                kept.id,
                kept.sealed,
                anew
            )
            .fetch_one(&mut *db)
            .await?;
            resealed += u64::from(done);
        }
    }
}
