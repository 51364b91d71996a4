//! Moving time. The database's clock cannot be moved, so what is stored moves back instead.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use sqlx::{AssertSqlSafe, PgPool, Row};

/// Not moved: the audit log is append-only, and a schedule's slots are points of the calendar.
const UNMOVED: [&str; 3] = ["audit_log", "cron_slots", "_sqlx_migrations"];

/// Running workers lock the same rows in other orders; the loser of a deadlock begins again.
const LOST_DEADLOCKS: usize = 10;

/// Makes every stored time `by` older, as if `by` had passed, and nobody had been there to renew a lease.
pub async fn pass(db: &PgPool, by: TimeDelta) {
    move_back(db, by, &[]).await;
}

/// The same beside workers that go on: a job that runs just now keeps its lease, as they would have renewed it.
pub async fn pass_beside_workers(db: &PgPool, by: TimeDelta) {
    move_back(db, by, &["lease_until"]).await;
}

async fn move_back(db: &PgPool, by: TimeDelta, but: &[&str]) {
    let columns = sqlx::query(
        "SELECT c.table_schema || '.' || c.table_name AS table, c.column_name::text AS column, c.udt_name::text AS type
           FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
          WHERE c.table_schema IN ('public', 'restricted') AND t.table_type = 'BASE TABLE' AND c.table_name <> ALL ($1)
            AND c.column_name <> ALL ($2)
            AND c.udt_name IN ('timestamptz', '_timestamptz', 'date') ORDER BY 1, 2",
    )
    .bind(UNMOVED.map(str::to_owned).to_vec())
    .bind(but.iter().map(|&column| column.to_owned()).collect::<Vec<_>>())
    .fetch_all(db)
    .await
    .expect("the columns can be listed");
    let (span, days) = (format!("interval '{} ms'", by.num_milliseconds()), by.num_days());
    let mut moved: BTreeMap<&str, Vec<(&str, String)>> = BTreeMap::new();
    for row in &columns {
        let (table, column, kind): (&str, &str, &str) = (row.get("table"), row.get("column"), row.get("type"));
        let earlier = match kind {
            "_timestamptz" => {
                format!("CASE WHEN {column} IS NOT NULL THEN ARRAY(SELECT at - {span} FROM unnest({column}) at) END")
            }
            "date" => format!("{column} - {days}"),
            _ => format!("{column} - {span}"),
        };
        moved.entry(table).or_default().push((column, earlier));
    }
    // Each row at once: what one column says of another holds in between, too.
    let updates = moved.iter().map(|(table, columns)| {
        let sets = columns.iter().map(|(column, earlier)| format!("{column} = {earlier}"));
        let names = columns.iter().map(|(column, _)| *column).collect::<Vec<_>>();
        format!(
            "UPDATE {table} SET {} WHERE num_nonnulls({}) > 0;",
            sets.collect::<Vec<_>>().join(", "),
            names.join(", ")
        )
    });
    let statements = updates.collect::<String>();
    for _ in 0..LOST_DEADLOCKS {
        match move_all(db, statements.clone()).await {
            Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("40P01" | "55P03")) => {}
            moved => return moved.expect("stored times can be moved"),
        }
    }
    panic!("the service held the rows whenever time was to move");
}

/// In one transaction: between two tables, time must not stand still for one of them.
async fn move_all(db: &PgPool, statements: String) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    // Names from the catalogue and numbers of ours.
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *tx).await?;
    tx.commit().await
}
