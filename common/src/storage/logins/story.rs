//! A login's story: everything that is known to have happened to it, in one order. The row is gone after a quarter of an hour; what
//! was written down beside it, and its job, are there for longer.

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use serde::Serialize;
use sqlx::PgPool;

use super::super::{StorageError, payments::Moment};
use crate::{
    domain::ids::{LoginId, UserId},
    queue::{JobId, look},
};

/// How a login stands. Nothing of what it is proven by.
#[derive(Debug, Serialize, Object)]
#[oai(rename = "LoginStanding")]
pub struct Standing {
    /// `web` or `mobile`.
    pub channel: String,
    /// `started`, `checking`, `succeeded` or `failed`.
    pub status: String,
    /// Why it failed.
    pub failure: Option<String>,
    /// Who it was.
    pub user: Option<String>,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// Until when it may go on.
    pub expires_at: DateTime<Utc>,
}

/// How the login stands; `None`: there is none, or none any more.
pub async fn standing_of(db: &PgPool, id: LoginId) -> Result<Option<Standing>, StorageError> {
    let row = sqlx::query!(
        r#"SELECT channel, status, failure, user_id AS "user: UserId", created_at, expires_at FROM logins WHERE id = $1"#,
        id.uuid()
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Standing {
        channel: row.channel,
        status: row.status,
        failure: row.failure,
        user: row.user.map(|user| user.to_string()),
        created_at: row.created_at,
        expires_at: row.expires_at,
    }))
}

/// All that happened to a login, oldest first: its row's times, its audit rows, and its job with each failed claim, whose error
/// says what `BankID` answered if it did.
pub async fn story(db: &PgPool, id: LoginId) -> Result<Vec<Moment>, StorageError> {
    let jobs: Vec<JobId> = look::about(db, id.uuid()).await?.iter().map(|job| job.id).collect();
    Ok(sqlx::query_as!(
        Moment,
        r#"WITH login AS (SELECT * FROM logins WHERE id = $2),
            work AS (SELECT * FROM jobs WHERE id = ANY($3))
           SELECT created_at AS "at!", 'state' AS "source!", 'user' AS "actor!", 'login.started' AS "what!",
                  jsonb_build_object('channel', channel) AS "detail!", NULL::bigint AS job FROM login
           UNION ALL
           SELECT consumed_at, 'callback', 'user', 'callback.came_back', '{}', NULL FROM login WHERE consumed_at IS NOT NULL
           UNION ALL
           SELECT handed_out_at, 'state', 'user', 'login.handed_out', '{}', NULL FROM login WHERE handed_out_at IS NOT NULL
           UNION ALL
           SELECT at, 'state', actor, action, detail, NULL FROM audit_log WHERE object = $1
           UNION ALL
           SELECT created_at, 'job', 'worker', kind || ' enqueued', jsonb_build_object('request_id', request_id), id FROM work
           UNION ALL
           SELECT a.ended_at, 'job', 'worker', w.kind || CASE a.result WHEN 'dead' THEN ' died' ELSE ' failed' END,
                  jsonb_build_object('claim', a.attempt, 'error', a.error), w.id
             FROM job_attempts a JOIN work w ON w.id = a.job_id
           UNION ALL
           SELECT finished_at, 'job', 'worker', kind || ' done', jsonb_build_object('claims', attempt), id FROM work WHERE state = 'done'
            ORDER BY 1"#,
        id.to_string(),
        id.uuid(),
        &jobs,
    )
    .fetch_all(db)
    .await?)
}
