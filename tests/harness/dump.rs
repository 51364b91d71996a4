//! Every value in the database, as a dump would hold it.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

/// The texts of each column, `table.column`, of all rows together; of a table that is not in `public`, with its schema before.
///
/// # Panics
/// When the database cannot be read.
pub async fn of(db: &PgPool) -> BTreeMap<String, String> {
    let tables = "SELECT CASE schemaname WHEN 'public' THEN '' ELSE schemaname || '.' END || tablename FROM pg_tables
                   WHERE schemaname IN ('public', 'restricted')";
    let tables: Vec<String> = sqlx::query_scalar(tables)
        .fetch_all(db)
        .await
        .expect("the tables can be listed");
    let mut dump: BTreeMap<String, String> = BTreeMap::new();
    for table in tables {
        let rows = AssertSqlSafe(format!("SELECT to_jsonb(t) FROM {table} t"));
        let rows: Vec<Value> = sqlx::query_scalar(rows).fetch_all(db).await.expect("rows");
        for (column, value) in rows.iter().filter_map(Value::as_object).flatten() {
            let text = dump.entry(format!("{table}.{column}")).or_default();
            match value.as_str() {
                Some(value) => text.push_str(value),
                None => text.push_str(&value.to_string()),
            }
            text.push('\n');
        }
    }
    dump
}
