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
        logins::{self, Secrets},
        users,
    },
};
use secrecy::ExposeSecret;
use serde_json::json;
use tracing::{info, warn};
use uuid::Uuid;

use crate::{context::Context, recording};

/// What the login proved, or why it ends.
struct Person {
    hashes: Vec<IdentityHash>,
    name: PersonName,
}

impl Handler<Context> for CheckLogin {
    async fn run(self, ctx: Arc<Context>, lease: Lease) -> Result<Verdict, JobError> {
        let mut tx = lease.begin(&ctx.db).await?;
        let Some(secrets) = logins::take_secrets(&mut tx, &ctx.keys, self.login).await? else {
            // An earlier attempt took the code and died before it could say how the exchange ended. BankID accepts a
            // code once, so the person starts again (contract 3.1: no retry).
            return refuse(&ctx, &lease, tx, self.login, LoginFailure::TokenExchangeFailed, None).await;
        };
        tx.commit().await?;
        failpoint!("login.secrets_taken");

        let asked = Instant::now();
        let proved = prove(&ctx, &lease, &secrets).await;
        // With the check of the signature, which is too short for a watch of its own.
        let waited = asked.elapsed();
        let person = match proved {
            Ok(claims) => identify(&ctx, self.login, &claims).inspect_err(|failure| {
                if *failure == LoginFailure::InvalidIdentityClaim {
                    alerts::raise(
                        &alerts::LOGIN_REFUSED,
                        format_args!("{}, {}", self.login, failure.code()),
                    );
                }
            }),
            Err(refused) => {
                if refused.needs_ops() {
                    alerts::raise(
                        &alerts::LOGIN_REFUSED,
                        format_args!("{}, {}", self.login, refused.reason()),
                    );
                }
                warn!(login.id = %self.login, reason = refused.reason(), "login {} refused: {}", self.login, refused.reason());
                Err(refused.code().parse().expect("a refusal's code is a login failure"))
            }
        };

        recording::record(&lease, || write(&ctx, &lease, self.login, person.as_ref(), waited)).await
    }

    /// A login that could not be checked is over: the person starts again.
    async fn on_dead_then(&self, context: &Context, tx: &mut Tx, _error: &str) -> Result<AfterCommit, StorageError> {
        let failure = LoginFailure::TokenExchangeFailed;
        let (metrics, mut after) = (Arc::clone(&context.metrics), AfterCommit::default());
        if logins::fail(tx, self.login, failure).await?.is_some() {
            after.add(move || count_failure(&metrics, failure));
        }
        Ok(after)
    }
}

/// Who logged in, or why nobody did.
async fn write(
    ctx: &Context,
    lease: &Lease,
    login: LoginId,
    person: Result<&Person, &LoginFailure>,
    waited: Duration,
) -> Result<Verdict, JobError> {
    let mut tx = lease.begin(&ctx.db).await?;
    let person = match person {
        Ok(person) => person,
        Err(failure) => return refuse(ctx, lease, tx, login, *failure, Some(waited)).await,
    };
    let user = users::upsert(
        &mut tx,
        &person.hashes,
        person.name.first_secret(),
        person.name.last_secret(),
    )
    .await?;
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

/// The national id, the age and the name that the verified token holds.
fn identify(ctx: &Context, login: LoginId, claims: &VerifiedClaims) -> Result<Person, LoginFailure> {
    let number = claims
        .national_id()
        .map(|text| NationalId::parse(text.expose_secret(), &ctx.accepted_ids))
        .transpose()
        .map_err(|_| LoginFailure::InvalidIdentityClaim)?;
    let today = age::today_in_oslo(ctx.clock.now());
    let decision = age::decide(claims.birthdate(), number.as_ref().and_then(NationalId::born), today);
    if decision.disagree {
        alerts::raise(&alerts::IDENTITY_CLAIMS_DISAGREE, login);
    }
    match decision.check {
        AgeCheck::Adult => {}
        AgeCheck::Underage => return Err(LoginFailure::Underage),
        AgeCheck::Unverified => return Err(LoginFailure::AgeUnverified),
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
    failure: LoginFailure,
    waited: Option<Duration>,
) -> Result<Verdict, JobError> {
    let Some(took) = logins::fail(&mut tx, login, failure).await? else {
        // It had ended before, and was told then.
        return Ok(lease.finish(tx, Outcome::Done).await?.into());
    };
    audit::record(
        &mut tx,
        Entry {
            actor: Actor::User,
            user: None,
            action: "login.refused",
            object: login.to_string(),
            detail: json!({ "failure": failure.code() }),
            request_id: lease.request_id(),
        },
    )
    .await?;
    let recorded = lease.finish(tx, Outcome::Done).await?;
    count_failure(&ctx.metrics, failure);
    if let Some(waited) = waited {
        observe(&ctx.metrics, took, waited);
    }
    ctx.tell_waiters(login.uuid()).await;
    Ok(recorded.into())
}

fn count_failure(metrics: &Metrics, failure: LoginFailure) {
    metrics.count(&LOGINS, &[failure.code()]);
    if failure.counts_as_error() {
        metrics.count(&BANKID_LOGIN_ERRORS, &[failure.code()]);
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
