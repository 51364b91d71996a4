//! The least that PostgreSQL can do: bare inserts, and a hand-written claim.

use std::time::Instant;

use futures_util::future::try_join_all;

use crate::{
    database::{Database, LANE},
    table::{Figure, Table, rate},
};

const INTO_BARE: &str = "INSERT INTO bare (kind, lane, payload, max_attempts) VALUES ('bench', $1, $2, 5)";
const INTO_LIKE_JOBS: &str =
    "INSERT INTO bare_like_jobs (kind, lane, payload, max_attempts) VALUES ('bench', $1, $2, 5)";

/// Single rows, each a transaction of its own.
pub(crate) async fn inserts(database: &Database, rows: usize, table: &mut Table) -> anyhow::Result<()> {
    for (figure, statement, connections) in [
        (Figure::InsertWithPrimaryKey8, INTO_BARE, 8),
        (Figure::InsertLikeJobs8, INTO_LIKE_JOBS, 8),
        (Figure::InsertLikeJobs1, INTO_LIKE_JOBS, 1),
    ] {
        database.empty().await?;
        let rows = if connections == 1 { rows / 8 } else { rows };
        let seconds = connections_each(database, connections, rows, async |connection| {
            sqlx::query(statement)
                .bind(LANE.id())
                .bind(serde_json::json!({ "sent_at_us": 0 }))
                .execute(connection)
                .await?;
            Ok(())
        })
        .await?;
        table.add(figure, rate(rows, seconds));
    }
    Ok(())
}

/// Does `work` so many times, spread over so many connections. Returns the seconds it took.
pub(crate) async fn connections_each(
    database: &Database,
    connections: usize,
    times: usize,
    work: impl AsyncFn(&mut sqlx::PgConnection) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(database.pool.acquire().await?);
    }
    let started = Instant::now();
    let each = times / connections;
    try_join_all(open.iter_mut().map(async |connection| {
        for _ in 0..each {
            work(connection).await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(started.elapsed().as_secs_f64())
}

/// One connection that claims all rows, without lanes, breakers, leases or outcomes.
pub(crate) async fn claims(database: &Database, rows: usize, table: &mut Table) -> anyhow::Result<()> {
    for (figure, batch) in [(Figure::HandClaim1, 1), (Figure::HandClaim50, 50)] {
        database.empty().await?;
        let rows = if batch == 1 { rows / 8 } else { rows };
        database.fill(LANE, rows, std::time::Duration::ZERO).await?;
        database.run("ANALYZE jobs").await?;
        let mut connection = database.pool.acquire().await?;
        let started = Instant::now();
        let mut claimed = 0;
        while claimed < rows {
            let batch = sqlx::query(
                "UPDATE jobs SET state = 'running', attempt = attempt + 1, owner = gen_random_uuid(),
                        claimed_at = clock_timestamp(), lease_until = clock_timestamp() + interval '45 s'
                  WHERE id = ANY (ARRAY(SELECT id FROM jobs WHERE lane = $1 AND state = 'ready' AND run_at <= now()
                                         ORDER BY run_at, id LIMIT $2 FOR UPDATE SKIP LOCKED))
                 RETURNING id, kind, payload",
            )
            .bind(LANE.id())
            .bind(batch)
            .fetch_all(&mut *connection)
            .await?;
            anyhow::ensure!(!batch.is_empty(), "rows were lost");
            claimed += batch.len();
        }
        table.add(figure, rate(rows, started.elapsed().as_secs_f64()));
    }
    Ok(())
}
