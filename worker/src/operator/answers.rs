//! What operators are told that no table says by itself: the dead with what followed, a payment with its story, somebody with
//! their payments, and whose an id is.

use drop_common::{
    config::OperatorRole,
    domain::ids::{LoginId, PaymentId, UserId, WebhookEventId},
    queue::{
        Job as _, JobId,
        look::{self, DeadGroup},
        operate::{self, JobSummary},
        payloads::ApplyKycEvent,
    },
    storage::{
        StorageError, inbox,
        kyc_history::{self, Logged, Person},
        logins::{self, Standing as LoginStanding},
        payments::{self, Listed, Moment, Story},
    },
};
use poem_openapi::Object;
use serde::Serialize;
use sqlx::PgPool;
use uuid::Uuid;

use super::told::told;

/// Dead jobs of one kind that died of the same, with what followed from that.
#[derive(Debug, Serialize, Object)]
pub(crate) struct DeadJobs {
    /// The jobs.
    #[serde(flatten)]
    #[oai(flatten)]
    pub(crate) group: DeadGroup,
    /// What their deaths meant for the rows that they were about.
    pub(crate) followed: String,
}

/// The newest dead jobs by what they died of, the most frequent first.
pub(crate) async fn dead_jobs(db: &PgPool) -> Result<Vec<DeadJobs>, StorageError> {
    let groups = look::dead_groups(db).await?.into_iter();
    let with_followed = groups.map(|group| DeadJobs {
        followed: consequence(&group.kind).to_owned(),
        group,
    });
    Ok(with_followed.collect())
}

/// What a death of this kind means for the row it is about: what the kind's `on_dead` writes.
pub(crate) fn consequence(kind: &str) -> &'static str {
    match kind {
        "check-login" => "the login failed; the person begins again",
        "create-applicant" => "the check could not begin; the person may ask again",
        "create-sdk-token" => "the person got no token, and asks again",
        "apply-kyc-event" => "the event waits in the inbox; replay it",
        "read-kyc-status" | "reconcile-kyc" => "the next slot asks again",
        "deliver-notification" => "the notice was not delivered",
        "start-consent" => "the consent failed; the person links anew",
        "fetch-accounts" => "the consent's accounts are not read",
        "end-consent" => "the bank may not know that the consent is over",
        "ask-to-link" => "the owner was not asked to link again",
        "refresh-balance" => "the refresh failed; the cached balance stands",
        "sync-balance" | "plan-balance-syncs" | "sweep-outbox" | "reconcile-payments" | "prune-jobs" => {
            "the next slot does it"
        }
        "initiate-payment" => "the payment failed if it never left, else a person must look at it",
        "start-authorisation" => "the payment's approval did not begin; it is polled until its deadline",
        "poll-payment" => "the bank is not asked any more, and a person must look at the payment",
        "cancel-payment" => "the bank did not answer the wish to cancel",
        _ => "nothing is known",
    }
}

/// A payment, and all that is known to have happened to it.
#[derive(Debug, Serialize, Object)]
pub(crate) struct PaymentStory {
    /// How it stands.
    #[serde(flatten)]
    #[oai(flatten)]
    pub(crate) payment: Story,
    /// What happened, oldest first.
    pub(crate) story: Vec<Moment>,
}

/// The payment's story; `None`: there is no such payment.
pub(crate) async fn payment_story(db: &PgPool, id: PaymentId) -> Result<Option<PaymentStory>, StorageError> {
    let Some(payment) = payments::standing_of(db, id).await? else {
        return Ok(None);
    };
    let story = payments::story(db, id).await?;
    Ok(Some(PaymentStory { payment, story }))
}

/// A login, and all that is known to have happened to it.
#[derive(Debug, Serialize, Object)]
pub(crate) struct LoginStory {
    /// The login, `lgn_…`.
    pub(crate) id: String,
    /// How it stands; absent once its row is gone, as all are after a quarter of an hour.
    pub(crate) login: Option<LoginStanding>,
    /// What happened, oldest first.
    pub(crate) story: Vec<Moment>,
}

/// The login's story; `None`: nothing is known of a login of this id.
pub(crate) async fn login_story(db: &PgPool, id: LoginId) -> Result<Option<LoginStory>, StorageError> {
    let login = logins::standing_of(db, id).await?;
    let story = logins::story(db, id).await?;
    let id = id.to_string();
    Ok((!story.is_empty()).then_some(LoginStory { id, login, story }))
}

/// How many of somebody's payments are shown with them.
const PAYMENTS: i64 = 20;

/// Somebody's identity check and newest payments; not who they are.
#[derive(Debug, Serialize, Object)]
pub(crate) struct PersonStory {
    /// Who, `usr_…`.
    pub(crate) id: String,
    /// Their identity check.
    #[serde(flatten)]
    #[oai(flatten)]
    pub(crate) person: Person,
    /// Their newest payments.
    pub(crate) payments: Vec<Listed>,
}

/// Somebody's identity check, as far as whoever looks is told; `None`: there is nobody of this id.
pub(crate) async fn person(db: &PgPool, id: UserId, role: OperatorRole) -> Result<Option<Person>, StorageError> {
    let Some(person) = kyc_history::of(db, id).await? else {
        return Ok(None);
    };
    let log = person.log.into_iter().filter_map(|row| {
        let detail = told(role, &row.action, row.detail)?;
        Some(Logged { detail, ..row })
    });
    let log = log.collect();
    Ok(Some(Person { log, ..person }))
}

/// The same with their newest payments.
pub(crate) async fn person_story(
    db: &PgPool,
    id: UserId,
    role: OperatorRole,
) -> Result<Option<PersonStory>, StorageError> {
    let Some(person) = person(db, id, role).await? else {
        return Ok(None);
    };
    let payments = payments::newest(db, Some(id), None, PAYMENTS).await?;
    Ok(Some(PersonStory {
        id: id.to_string(),
        person,
        payments,
    }))
}

/// What an id is the id of.
#[derive(Debug)]
pub(crate) enum Found {
    Job(JobId),
    Payment(PaymentId),
    Login(LoginId),
    Event(WebhookEventId),
    Person(UserId),
    /// The jobs about the row of this id, and those that the request of this id caused.
    Jobs(Vec<JobSummary>),
}

/// Whose id that is: a job's number, a payment's, a login's, an event's, a person's, a request's, any row's that jobs are
/// about, or the bank's id of a payment.
pub(crate) async fn find(db: &PgPool, asked: &str) -> Result<Found, StorageError> {
    if let Some(found) = named(asked)
        && is_known(db, &found).await?
    {
        return Ok(found);
    }
    let row = row_of(asked);
    if let Some(payment) = payments::known_as(db, asked, row).await? {
        return Ok(Found::Payment(payment));
    }
    let mut jobs = Vec::new();
    if let Some(row) = row {
        jobs = look::about(db, row).await?;
        jobs.extend(look::of_request(db, row).await?);
    }
    Ok(Found::Jobs(jobs))
}

/// What says itself what it is.
fn named(asked: &str) -> Option<Found> {
    let number = asked.strip_prefix("job_").unwrap_or(asked);
    let job = number.parse().ok().map(Found::Job);
    job.or_else(|| asked.parse().ok().map(Found::Payment))
        .or_else(|| asked.parse().ok().map(Found::Login))
        .or_else(|| asked.parse().ok().map(Found::Event))
        .or_else(|| asked.parse().ok().map(Found::Person))
}

/// Whether anything is known of it: an id can be mistyped, and a row can be gone.
async fn is_known(db: &PgPool, found: &Found) -> Result<bool, StorageError> {
    Ok(match *found {
        Found::Job(id) => operate::show(db, id).await?.is_some(),
        Found::Payment(id) => payments::standing_of(db, id).await?.is_some(),
        Found::Login(id) => login_story(db, id).await?.is_some(),
        Found::Event(id) => inbox::show(db, id, ApplyKycEvent::KIND).await?.is_some(),
        Found::Person(id) => kyc_history::of(db, id).await?.is_some(),
        Found::Jobs(_) => true,
    })
}

/// A row's id, with whichever prefix it is written, or a request's.
fn row_of(asked: &str) -> Option<Uuid> {
    asked.rsplit('_').next()?.parse().ok()
}

/// The same as commands and programs read it.
#[derive(Debug, Serialize, Object)]
pub(crate) struct WhatItIs {
    /// `job`, `payment`, `login`, `event` or `person`; `jobs` where only jobs know the id, or nothing does.
    pub(crate) what: String,
    /// Its own id.
    pub(crate) id: Option<String>,
    /// The jobs that know it.
    pub(crate) jobs: Vec<JobSummary>,
}

impl From<Found> for WhatItIs {
    fn from(found: Found) -> Self {
        let (what, id, jobs) = match found {
            Found::Job(id) => ("job", Some(id.to_string()), Vec::new()),
            Found::Payment(id) => ("payment", Some(id.to_string()), Vec::new()),
            Found::Login(id) => ("login", Some(id.to_string()), Vec::new()),
            Found::Event(id) => ("event", Some(id.to_string()), Vec::new()),
            Found::Person(id) => ("person", Some(id.to_string()), Vec::new()),
            Found::Jobs(jobs) => ("jobs", None, jobs),
        };
        Self {
            what: what.to_owned(),
            id,
            jobs,
        }
    }
}

#[cfg(test)]
mod tests {
    use drop_common::queue::ALL_KINDS;

    use super::*;

    #[test]
    fn an_id_says_what_it_is_the_id_of() {
        assert!(matches!(named("job_12"), Some(Found::Job(12))));
        let payment = PaymentId::new();
        assert!(matches!(named(&payment.to_string()), Some(Found::Payment(found)) if found == payment));
        let login = LoginId::new();
        assert!(matches!(named(&login.to_string()), Some(Found::Login(found)) if found == login));
        assert!(named("neonomics-77").is_none());
        assert!(row_of("con_0192f0c1a2b37c4d8e5f60718293a4b5").is_some());
    }

    #[test]
    fn what_follows_from_its_death_is_told_of_every_kind() {
        for kind in ALL_KINDS {
            assert_ne!(consequence(kind), consequence("?"), "{kind}");
        }
    }
}
