//! Jobs.

use chrono::{DateTime, Utc};
use drop_common::queue::{
    JobId, Lane,
    look::{self, Found, Search, Seen},
    operate::{self, JobDetail},
};
use poem_openapi::{
    Object, OpenApi,
    param::{Path, Query},
    payload::Json,
};

use super::{
    Changed, Chapter, Shown,
    caller::{Operator, Viewer},
    fifty,
    problem::Refused,
};
use crate::operator::{
    actions::jobs::{self as actions, JobAction, Share},
    answers::{self, DeadJobs},
    jobs::State,
};

/// The operations.
pub(super) struct Jobs;

/// Which jobs, and why.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
struct TheseJobs {
    /// The jobs' numbers.
    #[oai(validator(min_items = 1, max_items = 1000))]
    ids: Vec<JobId>,
    /// Why; names no person.
    reason: String,
}

/// Which of the dead jobs, how many of them, and why. What is absent does not matter, but for which were seen: as `/jobs/dead` has it of a
/// group, or of a list its newest, its oldest and when the last of them died.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
struct TheseDead {
    /// Only jobs of this lane.
    lane: Option<Lane>,
    /// Only jobs of this kind.
    kind: Option<String>,
    /// Only jobs with this part in their last error.
    error: Option<String>,
    /// Only jobs that died of this, whole, as `/jobs/dead` has it: … stands where numbers and ids differ. Empty: of nothing that
    /// was written down.
    died_of: Option<String>,
    /// The newest that was seen.
    newest: JobId,
    /// The oldest that was seen.
    oldest: JobId,
    /// When the last of those died that were seen. Who died later stays as it is.
    latest: DateTime<Utc>,
    /// Five as a trial, a tenth, or all: the newest, a thousand at most.
    share: Share,
    /// Why; names no person.
    reason: String,
}

#[OpenApi(prefix_path = "/operator/api", tag = "Chapter::Ops")]
impl Jobs {
    /// List jobs.
    ///
    /// Newest first. So many rows are read for one answer and no more: `next` is from where on the search goes on, and may be there
    /// although few were found.
    #[expect(
        clippy::too_many_arguments,
        reason = "a filter's parts are parameters of the operation"
    )]
    #[oai(path = "/jobs", method = "get", operation_id = "listJobs")]
    async fn list(
        &self,
        viewer: Viewer,
        /// Only jobs of this state.
        state: Query<Option<State>>,
        /// Only jobs of this lane.
        lane: Query<Option<Lane>>,
        /// Only jobs of this kind.
        kind: Query<Option<String>>,
        /// Only jobs with this part in their last error.
        error: Query<Option<String>>,
        /// Only jobs that died of this, whole, as `/jobs/dead` has it.
        died_of: Query<Option<String>>,
        /// Only jobs with a smaller number: the `next` of the answer before.
        before: Query<Option<i64>>,
        /// At most so many.
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
    ) -> Result<Shown<Found>, Refused> {
        let search = Search {
            state: state.0.map(|state| state.name().to_owned()),
            lane: lane.0,
            kind: kind.0,
            error: error.0,
            died_of: died_of.0,
            before: before.0,
            limit: limit.0.into(),
        };
        Ok(Shown(look::search(&viewer.context.db, &search).await?))
    }

    /// List the dead jobs by what they died of.
    ///
    /// The newest five thousand, the most frequent cause first, with what followed.
    #[oai(path = "/jobs/dead", method = "get", operation_id = "listDeadJobs")]
    async fn dead(&self, viewer: Viewer) -> Result<Shown<Vec<DeadJobs>>, Refused> {
        Ok(Shown(answers::dead_jobs(&viewer.context.db).await?))
    }

    /// Show a job.
    ///
    /// With every failed attempt.
    #[oai(path = "/jobs/:id", method = "get", operation_id = "showJob")]
    async fn show(
        &self,
        viewer: Viewer,
        /// The job's number.
        id: Path<i64>,
    ) -> Result<Shown<JobDetail>, Refused> {
        let job = operate::show(&viewer.context.db, id.0).await?;
        job.map(Shown).ok_or_else(Refused::not_found)
    }

    /// Run jobs again.
    ///
    /// Dead ones with all their attempts, and waiting ones at once; all of them, or none.
    #[oai(path = "/jobs/retry", method = "post", operation_id = "retryJobs")]
    async fn retry(&self, operator: Operator, these: Json<TheseJobs>) -> Result<Shown<Changed>, Refused> {
        change(&operator, &these, JobAction::Retry).await
    }

    /// End the wait of jobs.
    ///
    /// A worker makes them dead within moments, with all that follows from that; all of them, or none.
    #[oai(path = "/jobs/cancel", method = "post", operation_id = "cancelJobs")]
    async fn cancel(&self, operator: Operator, these: Json<TheseJobs>) -> Result<Shown<Changed>, Refused> {
        change(&operator, &these, JobAction::Cancel).await
    }

    /// Delete dead jobs.
    ///
    /// With their histories, but not untold ones; all of them, or none.
    #[oai(path = "/jobs/discard", method = "post", operation_id = "discardJobs")]
    async fn discard(&self, operator: Operator, these: Json<TheseJobs>) -> Result<Shown<Changed>, Refused> {
        change(&operator, &these, JobAction::Discard).await
    }

    /// Run the dead jobs again that match.
    ///
    /// Begin with a trial, look what becomes of it, then take a tenth, then all, of those that were seen and no others. Those that somebody
    /// else changed meanwhile are passed over.
    #[oai(path = "/jobs/dead/retry", method = "post", operation_id = "retryDeadJobs")]
    async fn retry_dead(&self, operator: Operator, these: Json<TheseDead>) -> Result<Shown<Changed>, Refused> {
        change_dead(&operator, these.0, JobAction::Retry).await
    }

    /// Delete the dead jobs that match.
    ///
    /// With their histories. Begin with a trial, then take a tenth, then all, of those that were seen and no others.
    #[oai(path = "/jobs/dead/discard", method = "post", operation_id = "discardDeadJobs")]
    async fn discard_dead(&self, operator: Operator, these: Json<TheseDead>) -> Result<Shown<Changed>, Refused> {
        change_dead(&operator, these.0, JobAction::Discard).await
    }
}

async fn change(operator: &Operator, these: &TheseJobs, action: JobAction) -> Result<Shown<Changed>, Refused> {
    let by = operator.because(&these.reason)?;
    let changed = actions::change(&operator.context.db, &these.ids, action, &by).await?;
    Ok(operator.done(action.name(), changed))
}

async fn change_dead(operator: &Operator, these: TheseDead, action: JobAction) -> Result<Shown<Changed>, Refused> {
    let by = operator.because(&these.reason)?;
    let search = Search {
        lane: these.lane,
        kind: these.kind,
        error: these.error,
        died_of: these.died_of,
        state: None,
        before: None,
        limit: 0,
    };
    let seen = Seen {
        newest: these.newest,
        oldest: these.oldest,
        latest: these.latest,
    };
    let changed = actions::change_dead(&operator.context.db, &search, seen, these.share, action, &by).await?;
    Ok(operator.done(action.name(), changed))
}
