//! People and logins by id, the compliance officer's cases, the audit log, and what an id is the id of.

use std::str::FromStr;

use drop_common::storage::{
    aml_cases::{self, Case},
    audit::Done,
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
    actions,
    answers::{self, LoginStory, PersonStory, WhatItIs},
    cases::FINDINGS,
    told,
};

/// The operations.
pub(super) struct Looks;

/// What was found about a case, and why it is closed.
#[derive(Debug, Object)]
#[oai(deny_unknown_fields)]
struct Closed {
    /// What was found: `reported` or `nothing`.
    finding: String,
    /// Why; names no person.
    reason: String,
}

#[OpenApi(prefix_path = "/operator/api", tag = "Chapter::Ops")]
impl Looks {
    /// Tell how somebody's identity check went.
    ///
    /// And their newest payments. Not who they are, and to a viewer not what a compliance officer does.
    #[oai(path = "/users/:id", method = "get", operation_id = "showPerson")]
    async fn person(
        &self,
        viewer: Viewer,
        /// The person, `usr_…`.
        id: Path<String>,
    ) -> Result<Shown<PersonStory>, Refused> {
        let told = answers::person_story(&viewer.context.db, id_in_path(&id)?, viewer.role).await?;
        told.map(Shown).ok_or_else(Refused::not_found)
    }

    /// Tell a login's story.
    ///
    /// How it stands, and all that is known to have happened to it, oldest first.
    #[oai(path = "/logins/:id", method = "get", operation_id = "showLogin")]
    async fn login(
        &self,
        viewer: Viewer,
        /// The login, `lgn_…`.
        id: Path<String>,
    ) -> Result<Shown<LoginStory>, Refused> {
        let told = answers::login_story(&viewer.context.db, id_in_path(&id)?).await?;
        told.map(Shown).ok_or_else(Refused::not_found)
    }

    /// List the cases of the compliance officer.
    ///
    /// The oldest first, with Sumsub's reasons. To operators alone: nobody else may hear of a case.
    #[oai(path = "/cases", method = "get", operation_id = "listCases")]
    async fn cases(
        &self,
        operator: Operator,
        /// The closed ones, too.
        #[oai(default)]
        all: Query<bool>,
        /// Only cases behind this one, `aml_…`: the last one of the answer before.
        after: Query<Option<String>>,
        /// At most so many.
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
    ) -> Result<Shown<Vec<Case>>, Refused> {
        let after = id_in_query(after.0.as_deref())?;
        Ok(Shown(
            aml_cases::list(&operator.context.db, all.0, after, limit.0.into()).await?,
        ))
    }

    /// Close a case.
    ///
    /// With what was found.
    #[oai(path = "/cases/:id/close", method = "post", operation_id = "closeCase")]
    async fn close(
        &self,
        operator: Operator,
        /// The case, `aml_…`.
        id: Path<String>,
        closed: Json<Closed>,
    ) -> Result<Shown<Changed>, Refused> {
        let by = operator.because(&closed.reason)?;
        if !FINDINGS.contains(&closed.finding.as_str()) {
            return Err(Refused::unusable("The findings are reported and nothing."));
        }
        actions::cases::close(&operator.context.db, id_in_path(&id)?, &closed.finding, &by).await?;
        Ok(operator.done("aml.case_closed", 1))
    }

    /// List what operators did.
    ///
    /// Newest first, on the page, here and by commands. Nobody can change it. A viewer is not told of cases, nor why somebody is held.
    #[oai(path = "/audit", method = "get", operation_id = "listActions")]
    async fn audit(
        &self,
        viewer: Viewer,
        /// Only rows with a smaller number: the last one of the answer before.
        before: Query<Option<i64>>,
        /// At most so many.
        #[oai(default = "fifty", validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<u16>,
    ) -> Result<Shown<Vec<Done>>, Refused> {
        Ok(Shown(
            told::actions(&viewer.context.db, viewer.role, before.0, limit.0.into()).await?,
        ))
    }

    /// Tell what an id is the id of.
    ///
    /// And which jobs know it.
    #[oai(path = "/find", method = "get", operation_id = "find")]
    async fn find(
        &self,
        viewer: Viewer,
        /// A job's number, the id of a payment, a login, an event, a person or a request, that of any row that jobs are about, or the bank's
        /// id of a payment.
        id: Query<String>,
    ) -> Result<Shown<WhatItIs>, Refused> {
        Ok(Shown(answers::find(&viewer.context.db, &id).await?.into()))
    }
}

/// An id that cannot exist looks like one that does not.
pub(super) fn id_in_path<T: FromStr>(id: &str) -> Result<T, Refused> {
    id.parse().map_err(|_| Refused::not_found())
}

/// What cannot be read is refused: left out, it would widen what is shown.
pub(super) fn id_in_query<T: FromStr>(id: Option<&str>) -> Result<Option<T>, Refused> {
    let id = id.map(|id| id.parse().map_err(|_| Refused::unusable("That is no id of its kind.")));
    id.transpose()
}
