//! What people look for in the queue: jobs by many filters, the dead by their errors, and lanes. Each reads a bounded number of rows,
//! so that a page costs the same with a thousand jobs and with a million.

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use serde::Serialize;
use sqlx::{PgExecutor, PgPool};
use uuid::Uuid;

use super::{
    JobId, Lane,
    operate::{JobSummary, select_jobs, summary},
};
use crate::storage::StorageError;

/// So many jobs of a state are read for one page of a search. Where too few of them match, the search goes on from there.
const READ_FOR_A_PAGE: i64 = 5_000;
/// So many of the newest dead are grouped, and acted on at once: each is a page of the disk, and a text that is compared.
pub const GROUPED: i64 = 5_000;

/// Which jobs a search shows; what is absent does not matter.
#[derive(Debug, Clone)]
pub struct Search {
    /// `ready`, `running`, `done`, `dead` or `untold`.
    pub state: Option<String>,
    /// The lane.
    pub lane: Option<Lane>,
    /// The kind.
    pub kind: Option<String>,
    /// A part of the last error.
    pub error: Option<String>,
    /// What they died of, whole, as [`DeadGroup::error`] has it; empty: of nothing that was written down.
    pub died_of: Option<String>,
    /// Only jobs with a smaller number: where the page before ended.
    pub before: Option<JobId>,
    /// At most so many.
    pub limit: usize,
}

/// Which dead of a search somebody saw: neither who dies later is one of those that they decide about, nor who is older than all that
/// were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The newest of them.
    pub newest: JobId,
    /// The oldest of them.
    pub oldest: JobId,
    /// When the last of them died. Not always the newest: an older job may die later.
    pub latest: DateTime<Utc>,
}

/// A page of a search.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "FoundJobs")]
pub struct Found {
    /// Newest first.
    pub jobs: Vec<JobSummary>,
    /// From where on the search goes on; `None`: there is no older job.
    pub next: Option<JobId>,
}

/// The state is written out in each statement, since a parameter could not use the partial indexes. Rows that do not match are
/// read, too, but only the last one's number leaves the database.
macro_rules! search {
    ($state:literal, $search:expr, $db:expr) => {
        select_jobs!(
            with (r#"WITH looked AS MATERIALIZED (
                 SELECT id, lane, kind, last_error FROM jobs WHERE "# + $state + r#" AND id < $1 ORDER BY id DESC LIMIT $2),
               found AS (
                 SELECT id FROM looked WHERE ($3::smallint IS NULL OR lane = $3) AND ($4::text IS NULL OR kind = $4)
                    AND ($5::text IS NULL OR last_error ILIKE $5) AND ($7::text IS NULL OR died_of(last_error) = $7)
                  ORDER BY id DESC LIMIT $6),
               last AS (SELECT id FROM looked WHERE (SELECT count(*) FROM looked) = $2 ORDER BY id LIMIT 1)"#),
            also r#"shown.matches AS "matches!""#,
            "JOIN (SELECT id, true AS matches FROM found UNION ALL SELECT id, false FROM last) shown USING (id) ORDER BY j.id DESC",
            $search.before.unwrap_or(JobId::MAX),
            READ_FOR_A_PAGE,
            $search.lane.map(Lane::id),
            $search.kind,
            $search.error.as_deref().map(pattern),
            i64::try_from($search.limit).unwrap_or(i64::MAX),
            $search.died_of,
        )
        .map(|row| (row.matches, summary!(row)))
        .fetch_all($db)
        .await?
    };
}

/// The jobs of the search, newest first.
pub async fn search(db: &PgPool, search: &Search) -> Result<Found, StorageError> {
    let read = match search.state.as_deref() {
        None => search!("true", search, db),
        Some("ready") => search!("state = 'ready'", search, db),
        Some("running") => search!("state = 'running'", search, db),
        Some("done") => search!("state = 'done'", search, db),
        Some("dead") => search!("state = 'dead' AND untold IS NULL", search, db),
        Some("untold") => search!("untold IS NOT NULL", search, db),
        Some(_) => Vec::new(),
    };
    let last_read = read.iter().find(|(matches, _)| !matches).map(|(_, job)| job.id);
    let jobs: Vec<_> = read
        .into_iter()
        .filter_map(|(matches, job)| matches.then_some(job))
        .collect();
    let next = match jobs.last() {
        Some(last) if jobs.len() == search.limit => Some(last.id),
        _ => last_read,
    };
    Ok(Found { jobs, next })
}

/// The same until so many are found or there is no older job, however many rows must be read for that.
pub async fn list(db: &PgPool, wanted: &Search) -> Result<Vec<JobSummary>, StorageError> {
    let mut page = wanted.clone();
    let mut jobs = Vec::new();
    while page.limit > 0 {
        let found = search(db, &page).await?;
        jobs.extend(found.jobs);
        page.limit = wanted.limit.saturating_sub(jobs.len());
        page.before = match found.next {
            Some(next) => Some(next),
            None => break,
        };
    }
    Ok(jobs)
}

/// A part of a text for `ILIKE`. What it reads as a wildcard is meant as it is written.
fn pattern(part: &str) -> String {
    let mut pattern = String::from("%");
    for letter in part.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern + "%"
}

/// The jobs about a row, whichever kind of row it is, newest first: their payloads name it.
pub async fn about(db: impl PgExecutor<'_>, row: Uuid) -> Result<Vec<JobSummary>, StorageError> {
    // The expression is that of the index `jobs_about`.
    let about = select_jobs!(
        "WHERE coalesce(payload ->> 'payment', payload ->> 'event', payload ->> 'notification', payload ->> 'account',
                        payload ->> 'consent', payload ->> 'login', payload ->> 'applicant', payload ->> 'token',
                        payload ->> 'refresh') = $1
          ORDER BY j.id DESC LIMIT 200",
        row.to_string()
    );
    Ok(about.map(|row| summary!(row)).fetch_all(db).await?)
}

/// The jobs that a request caused, newest first.
pub async fn of_request(db: impl PgExecutor<'_>, request: Uuid) -> Result<Vec<JobSummary>, StorageError> {
    let caused = select_jobs!("WHERE j.request_id = $1 ORDER BY j.id DESC LIMIT 200", request);
    Ok(caused.map(|row| summary!(row)).fetch_all(db).await?)
}

/// Dead jobs of one kind that died of the same.
#[derive(Debug, Serialize, Object)]
pub struct DeadGroup {
    /// What they are.
    pub kind: String,
    /// The lane's name.
    pub lane: String,
    /// Their error; `…` stands where numbers and ids differ.
    pub error: String,
    /// How many they are.
    pub jobs: i64,
    /// The newest of them.
    pub newest: JobId,
    /// The oldest of them.
    pub oldest: JobId,
    /// When the first of them died.
    pub first: DateTime<Utc>,
    /// When the last of them died.
    pub latest: DateTime<Utc>,
}

/// The newest [`GROUPED`] dead jobs by what they died of, the most frequent first.
pub async fn dead_groups(db: &PgPool) -> Result<Vec<DeadGroup>, StorageError> {
    Ok(sqlx::query_as!(
        DeadGroup,
        r#"SELECT d.kind AS "kind!", coalesce(l.name, d.lane::text) AS "lane!", d.error AS "error!", count(*) AS "jobs!",
                  max(d.id) AS "newest!", min(d.id) AS "oldest!", min(d.finished_at) AS "first!", max(d.finished_at) AS "latest!"
             FROM (SELECT id, kind, lane, finished_at, died_of(last_error) AS error
                     FROM jobs WHERE state = 'dead' AND untold IS NULL ORDER BY id DESC LIMIT $1) d
             LEFT JOIN lanes l USING (lane)
            GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 3 LIMIT 200"#,
        GROUPED,
    )
    .fetch_all(db)
    .await?)
}

/// The dead jobs that match.
#[derive(Debug)]
pub struct Dead {
    /// How many they are, among the newest [`GROUPED`].
    pub jobs: i64,
    /// Which were looked at; `None`: there are none.
    pub seen: Option<Seen>,
}

/// How many dead jobs match, of those that somebody saw or of all.
pub async fn count_dead(db: &PgPool, search: &Search, seen: Option<Seen>) -> Result<Dead, StorageError> {
    let counted = sqlx::query!(
        r#"SELECT count(*) AS "jobs!", max(id) AS newest, min(id) AS oldest, max(finished_at) AS latest FROM (
             SELECT id, lane, kind, last_error, finished_at FROM jobs WHERE state = 'dead' AND untold IS NULL AND id <= $6 AND id >= $8
              ORDER BY id DESC LIMIT $1) d
            WHERE ($2::smallint IS NULL OR lane = $2) AND ($3::text IS NULL OR kind = $3) AND ($4::text IS NULL OR last_error ILIKE $4)
              AND ($5::text IS NULL OR died_of(last_error) = $5) AND finished_at <= coalesce($7::timestamptz, 'infinity')"#,
        GROUPED,
        search.lane.map(Lane::id),
        search.kind,
        search.error.as_deref().map(pattern),
        search.died_of,
        seen.map_or(JobId::MAX, |seen| seen.newest),
        seen.map(|seen| seen.latest),
        seen.map_or(JobId::MIN, |seen| seen.oldest),
    )
    .fetch_one(db)
    .await?;
    let seen = counted.newest.zip(counted.oldest).zip(counted.latest);
    Ok(Dead {
        jobs: counted.jobs,
        seen: seen.map(|((newest, oldest), latest)| Seen { newest, oldest, latest }),
    })
}

/// The newest dead jobs that match and that somebody saw, at most so many: those that an action on all of them is done to.
pub async fn dead(
    db: impl PgExecutor<'_>,
    search: &Search,
    seen: Seen,
    limit: i64,
) -> Result<Vec<JobId>, StorageError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT id AS "id!" FROM (
             SELECT id, lane, kind, last_error, finished_at FROM jobs WHERE state = 'dead' AND untold IS NULL AND id <= $7 AND id >= $9
              ORDER BY id DESC LIMIT $1) d
            WHERE ($2::smallint IS NULL OR lane = $2) AND ($3::text IS NULL OR kind = $3) AND ($4::text IS NULL OR last_error ILIKE $4)
              AND ($6::text IS NULL OR died_of(last_error) = $6) AND finished_at <= $8
            ORDER BY id DESC LIMIT $5"#,
        GROUPED,
        search.lane.map(Lane::id),
        search.kind,
        search.error.as_deref().map(pattern),
        limit,
        search.died_of,
        seen.newest,
        seen.latest,
        seen.oldest,
    )
    .fetch_all(db)
    .await?)
}

/// A lane as operators set it.
#[derive(Debug, Clone, Serialize, Object)]
pub struct LaneStanding {
    /// The lane.
    pub lane: Lane,
    /// Nothing is claimed because an operator said so.
    pub paused: bool,
    /// Until when; `None`: until somebody resumes it.
    pub paused_until: Option<DateTime<Utc>>,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// Why.
    pub paused_because: Option<String>,
    /// Nothing is claimed until then, because the provider asked for a pause.
    pub throttled_until: Option<DateTime<Utc>>,
    /// The breaker in front of it.
    pub breaker: Option<String>,
    /// Its circuit is open.
    pub circuit_open: bool,
    /// Since when it has been closed, as all are after a restore until the banks have told what they have.
    pub closed_since: Option<DateTime<Utc>>,
}

/// Every lane this build knows, by number.
pub async fn lanes(db: impl PgExecutor<'_>) -> Result<Vec<LaneStanding>, StorageError> {
    let rows = sqlx::query!(
        r#"SELECT l.lane, l.paused, l.paused_until, l.paused_by, l.paused_because,
                  CASE WHEN l.throttled_until > clock_timestamp() THEN l.throttled_until END AS throttled_until,
                  l.breaker_key, coalesce(b.open, false) AS "circuit_open!", l.closed_at
             FROM lanes l LEFT JOIN breaker b ON b.key = l.breaker_key ORDER BY l.lane"#
    )
    .fetch_all(db)
    .await?;
    let known = rows.into_iter().filter_map(|row| {
        Some(LaneStanding {
            lane: Lane::from_id(row.lane)?,
            paused: row.paused,
            paused_until: row.paused_until,
            paused_by: row.paused_by,
            paused_because: row.paused_because,
            throttled_until: row.throttled_until,
            breaker: row.breaker_key,
            circuit_open: row.circuit_open,
            closed_since: row.closed_at,
        })
    });
    Ok(known.collect())
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn a_part_of_an_error_is_looked_for_as_it_is_written() {
        assert_eq!(pattern("50% of _x\\"), "%50\\% of \\_x\\\\%");
    }
}
