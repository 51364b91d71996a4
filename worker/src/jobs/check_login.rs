//! Exchanges a BankID code, verifies the token, and writes who logged in. Never repeats the exchange.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use drop_common::{
    alerts,
    domain::{
        age::{self, AgeCheck},
        identity_hash::IdentityHash,
        ids::LoginId,
        login::{LoginFailure, LoginStatus},
        national_id::NationalId,
        user::PersonName,
    },
    failpoint,
    metrics::{BANKID_LOGIN_ERRORS, BANKID_UNDERAGE_REJECTIONS, LOGIN_DURATION, LOGINS, Metrics},
    providers::{
        bankid::{LoginRefused, VerifiedClaims},
        http::Trace,
    },
    queue::{AfterCommit, Handler, JobError, Lease, Outcome, Verdict, payloads::CheckLogin},
    storage::{
        StorageError, Tx,
        audit::{self, Actor, Entry},
        logins::{self, Secrets, Taken},
        users,
    },
};
use secrecy::ExposeSecret;
use serde_json::json;
use tracing::{info, warn};
use uuid::Uuid;

use crate::{context::Context, recording};

/// Whom the login proved.
struct Person {
    hashes: Vec<IdentityHash>,
    name: PersonName,
}

/// Why it proved nobody: what the caller is told, and the exact reason, which is for us alone.
#[derive(Clone, Copy)]
struct Refusal {
    failure: LoginFailure,
    reason: &'static str,
    bankid_unreachable: bool,
}

impl Refusal {
    fn new(failure: LoginFailure, reason: &'static str) -> Self {
        Self {
            failure,
            reason,
            bankid_unreachable: false,
        }
    }

    /// Where there is no more to say.
    fn plain(failure: LoginFailure) -> Self {
        Self::new(failure, failure.code())
    }
}

impl Handler<Context> for CheckLogin {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        failpoint!("login.taking_secrets");
        let secrets = match logins::take_secrets(&ctx.db, &ctx.keys, self.login, &lease).await {
            Ok(Taken::Secrets(secrets)) => secrets,
            Ok(Taken::LeaseLost) => return Err(JobError::LeaseLost),
            Ok(Taken::Gone) => {
                // An earlier attempt took the code and died before it could say how the exchange ended. BankID accepts a
                // code once, so the person starts again (contract 3.1: no retry).
                let refusal = Refusal::new(LoginFailure::TokenExchangeFailed, "interrupted");
                let tx = lease.begin(&ctx.db).await?;
                return refuse(&ctx, &lease, tx, self.login, refusal, None).await;
            }
            // They are erased all the same, and this worker lacks their key: somebody must know.
            Err(StorageError::Corrupt(why)) => return Ok(Outcome::GiveUp(why.into()).into()),
            Err(error) => return Err(error.into()),
        };
        failpoint!("login.secrets_taken");

        let asked = Instant::now();
        let proved = prove(&ctx, &lease, &secrets).await;
        // With the check of the signature, which is too short for a watch of its own.
        let waited = asked.elapsed();
        let person = match proved {
            Ok(claims) => identify(&ctx, self.login, &claims),
            Err(refused) => Err(told(self.login, &refused)),
        };

        recording::record(&lease, || write(&ctx, &lease, self.login, person.as_ref(), waited)).await
    }

    /// A login that could not be checked is over: the person starts again, and somebody looks why.
    async fn on_dead(&self, context: &Context, tx: &mut Tx, _error: &str) -> Result<AfterCommit, StorageError> {
        let refusal = Refusal::new(LoginFailure::TokenExchangeFailed, "not_checked");
        let (metrics, mut after) = (Arc::clone(&context.metrics), AfterCommit::default());
        if logins::fail(tx, self.login, refusal.failure, None).await?.is_some() {
            audit_refusal(tx, Actor::Worker, self.login, refusal, None).await?;
            let login = self.login;
            after.add(move || {
                count(&metrics, refusal);
                let reason = refusal.reason;
                alerts::raise_for(&alerts::LOGIN_REFUSED, reason, format_args!("{login}, {reason}"));
            });
        }
        Ok(after)
    }
}

/// Who logged in, or why nobody did.
async fn write(
    ctx: &Context,
    lease: &Lease,
    login: LoginId,
    person: Result<&Person, &Refusal>,
    waited: Duration,
) -> Result<Verdict, JobError> {
    let mut tx = lease.begin(&ctx.db).await?;
    let person = match person {
        Ok(person) => person,
        Err(refusal) => return refuse(ctx, lease, tx, login, *refusal, Some(waited)).await,
    };
    let (first_name, last_name) = (person.name.first_secret(), person.name.last_secret());
    let Some(user) = users::upsert(&mut tx, &person.hashes, first_name, last_name).await? else {
        let refusal = Refusal::plain(LoginFailure::Erased);
        return refuse(ctx, lease, tx, login, refusal, Some(waited)).await;
    };
    let took = logins::succeed(&mut tx, login, user.id).await?;
    audit::record(
        &mut tx,
        Entry {
            actor: Actor::User,
            user: Some(user.id),
            action: "login.succeeded",
            object: login.to_string(),
            detail: json!({ "new_user": user.new, "renamed": user.renamed, "rehashed": user.rehashed }),
            request_id: lease.request_id(),
        },
    )
    .await?;
    failpoint!("login.written");
    let recorded = lease.finish(tx, Outcome::Done).await?;
    if let Some(took) = took {
        ctx.metrics.count(&LOGINS, &[LoginStatus::Succeeded.as_str()]);
        observe(&ctx.metrics, took, waited);
    }
    info!(login.id = %login, user.id = %user.id, "login {login} proved to be user {}", user.id);
    ctx.tell_waiters(login.uuid()).await;
    Ok(recorded.into())
}

/// The token exchange, once, and every check of the ID token.
async fn prove(ctx: &Context, lease: &Lease, secrets: &Secrets) -> Result<VerifiedClaims, LoginRefused> {
    let trace = Trace {
        request_id: lease.request_id().unwrap_or_else(Uuid::now_v7),
        correlation_id: None,
        not_after: Some(lease.deadline()),
    };
    let tokens = ctx
        .bankid
        .exchange(&secrets.code, &secrets.verifier, trace, ctx.clock.now())
        .await?;
    failpoint!("login.exchanged");
    let claims = ctx
        .bankid
        .verify(&tokens, &secrets.nonce, trace, ctx.clock.now())
        .await?;
    failpoint!("login.verified");
    Ok(claims)
}

/// Tells operations why BankID's answer proves nobody, where they must know.
fn told(login: LoginId, refused: &LoginRefused) -> Refusal {
    let (reason, bankid_unreachable) = (refused.reason(), refused.is_unreachable());
    let alert = if refused.needs_ops() {
        Some(&alerts::LOGIN_REFUSED)
    } else {
        bankid_unreachable.then_some(&alerts::BANKID_UNREACHABLE)
    };
    if let Some(alert) = alert {
        alerts::raise_for(alert, reason, format_args!("{login}, {reason}"));
    }
    warn!(login.id = %login, reason, "login {login} refused: {reason}");
    Refusal {
        failure: refused.failure(),
        reason,
        bankid_unreachable,
    }
}

/// The national id, the age and the name that the verified token holds.
fn identify(ctx: &Context, login: LoginId, claims: &VerifiedClaims) -> Result<Person, Refusal> {
    let number = claims
        .national_id()
        .map(|text| NationalId::parse(text.expose_secret(), &ctx.accepted_ids))
        .transpose()
        .map_err(|_| {
            let refusal = Refusal::new(LoginFailure::InvalidIdentityClaim, "national_id");
            let reason = refusal.reason;
            alerts::raise_for(&alerts::LOGIN_REFUSED, reason, format_args!("{login}, {reason}"));
            refusal
        })?;
    let today = age::today_in_oslo(ctx.clock.now());
    let decision = age::decide(claims.birthdate(), number.as_ref().and_then(NationalId::born), today);
    if decision.disagree {
        alerts::raise(&alerts::IDENTITY_CLAIMS_DISAGREE, login);
    }
    match decision.check {
        AgeCheck::Adult => {}
        AgeCheck::Underage => return Err(Refusal::plain(LoginFailure::Underage)),
        AgeCheck::Unverified => return Err(Refusal::plain(LoginFailure::AgeUnverified)),
    }
    let hash = |pepper| match &number {
        Some(number) => IdentityHash::of_national_id(number, pepper),
        None => IdentityHash::of_subject(&ctx.settings.bankid.issuer, claims.subject(), pepper),
    };
    Ok(Person {
        hashes: ctx.settings.keys.peppers().into_iter().map(hash).collect(),
        name: claims.name().clone(),
    })
}

async fn refuse(
    ctx: &Context,
    lease: &Lease,
    mut tx: Tx,
    login: LoginId,
    refusal: Refusal,
    waited: Option<Duration>,
) -> Result<Verdict, JobError> {
    let unreachable = waited.map(|_| refusal.bankid_unreachable);
    let Some(took) = logins::fail(&mut tx, login, refusal.failure, unreachable).await? else {
        // It had ended before, and was told then.
        return Ok(lease.finish(tx, Outcome::Done).await?.into());
    };
    audit_refusal(&mut tx, Actor::User, login, refusal, lease.request_id()).await?;
    let recorded = lease.finish(tx, Outcome::Done).await?;
    count(&ctx.metrics, refusal);
    if let Some(waited) = waited {
        observe(&ctx.metrics, took, waited);
    }
    ctx.tell_waiters(login.uuid()).await;
    Ok(recorded.into())
}

async fn audit_refusal(
    tx: &mut Tx,
    actor: Actor,
    login: LoginId,
    refusal: Refusal,
    request_id: Option<Uuid>,
) -> Result<(), StorageError> {
    let entry = Entry {
        actor,
        user: None,
        action: "login.refused",
        object: login.to_string(),
        detail: json!({ "failure": refusal.failure.code(), "reason": refusal.reason }),
        request_id,
    };
    audit::record(tx, entry).await
}

fn count(metrics: &Metrics, Refusal { failure, reason, .. }: Refusal) {
    metrics.count(&LOGINS, &[failure.code()]);
    if failure.counts_as_error() {
        metrics.count(&BANKID_LOGIN_ERRORS, &[reason]);
    }
    if failure == LoginFailure::Underage {
        metrics.count(&BANKID_UNDERAGE_REJECTIONS, &[]);
    }
}

/// How long the login took since its callback, of which this long for BankID.
fn observe(metrics: &Metrics, took: Duration, waited: Duration) {
    metrics.observe(&LOGIN_DURATION, &["provider"], waited.as_secs_f64());
    metrics.observe(&LOGIN_DURATION, &["ours"], took.saturating_sub(waited).as_secs_f64());
}
