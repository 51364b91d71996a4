use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use openidconnect::core::CoreJsonWebKeySet;
use reqwest::{
    Method,
    header::{ACCEPT, CACHE_CONTROL, HeaderMap, HeaderValue},
};

use crate::providers::{
    Operation, ProviderError,
    http::{Call, GuardedClient, Reply, Trace},
};

/// Between two fetches that an unknown `kid` causes: random kids must not become our load on BankID.
const UNKNOWN_KID_COOLDOWN: TimeDelta = TimeDelta::seconds(30);
/// However long the provider promises its keys: a revoked key is trusted no longer than this.
const LONGEST_TRUST: TimeDelta = TimeDelta::hours(24);

type Fetched = Result<Arc<Keys>, Arc<ProviderError>>;

/// BankID's signing keys. Fresh for five minutes (contract 3.1); while they cannot be fetched again they serve for
/// as long as BankID promised them, because logins matter more than a revocation in that time.
pub(super) struct KeyCache {
    http: GuardedClient,
    url: String,
    ttl: TimeDelta,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Option<Arc<Keys>>,
    in_flight: Option<Shared<BoxFuture<'static, Fetched>>>,
    unknown_kid_at: Option<DateTime<Utc>>,
}

/// One fetched set and how long it holds.
pub(super) struct Keys {
    pub(super) set: CoreJsonWebKeySet,
    fresh_until: DateTime<Utc>,
    trusted_until: DateTime<Utc>,
}

impl KeyCache {
    pub(super) fn new(http: GuardedClient, url: String, ttl: Duration) -> Self {
        let ttl = TimeDelta::from_std(ttl).unwrap_or(LONGEST_TRUST);
        Self {
            http,
            url,
            ttl,
            state: Mutex::default(),
        }
    }

    /// Keys to check a signature with. Fresh ones at once; older ones inside the provider's own
    /// promise at once too, with a refresh in the background; else the caller waits for a fetch.
    pub(super) async fn get(self: &Arc<Self>, trace: Trace, now: DateTime<Utc>) -> Fetched {
        let fetch = {
            let mut state = self.lock();
            match &state.keys {
                Some(keys) if now < keys.fresh_until => return Ok(Arc::clone(keys)),
                Some(keys) if now < keys.trusted_until => {
                    let keys = Arc::clone(keys);
                    // The fetch runs as a task of its own; its outcome is logged there.
                    drop(self.start(&mut state, trace, now));
                    return Ok(keys);
                }
                Some(_) | None => self.start(&mut state, trace, now),
            }
        };
        fetch.await
    }

    /// Newer keys than `used`, after a `kid` that those do not hold. `None` when the cooldown
    /// forbids another fetch.
    pub(super) async fn after_unknown_kid(
        self: &Arc<Self>,
        used: &Arc<Keys>,
        trace: Trace,
        now: DateTime<Utc>,
    ) -> Option<Fetched> {
        let fetch = {
            let mut state = self.lock();
            match &state.keys {
                // Somebody fetched in the meantime: no fetch of ours is needed.
                Some(keys) if !Arc::ptr_eq(keys, used) => return Some(Ok(Arc::clone(keys))),
                Some(_) | None => {}
            }
            if state.unknown_kid_at.is_some_and(|at| now < at + UNKNOWN_KID_COOLDOWN) {
                return None;
            }
            state.unknown_kid_at = Some(now);
            self.start(&mut state, trace, now)
        };
        Some(fetch.await)
    }

    /// Joins the fetch that is running, or starts one. It is a task, so that a caller who goes
    /// away does not end it for the others.
    fn start(
        self: &Arc<Self>,
        state: &mut State,
        trace: Trace,
        now: DateTime<Utc>,
    ) -> Shared<BoxFuture<'static, Fetched>> {
        if let Some(running) = state.in_flight.as_ref().filter(|running| running.peek().is_none()) {
            return running.clone();
        }
        let cache = Arc::clone(self);
        let task = tokio::spawn(async move {
            let fetched = cache.fetch(trace, now).await.map_err(Arc::new);
            let mut state = cache.lock();
            state.in_flight = None;
            match &fetched {
                Ok(keys) => state.keys = Some(Arc::clone(keys)),
                // The old keys stay: a failure is never cached.
                Err(error) => tracing::error!(
                    provider = "bankid",
                    class = error.class().as_str(),
                    "could not fetch BankID's signing keys: {error}"
                ),
            }
            drop(state);
            fetched
        });
        let broken = || {
            Err(Arc::new(ProviderError::Unreadable {
                what: "the key fetch did not end",
            }))
        };
        let fetch = async move { task.await.unwrap_or_else(|_| broken()) }.boxed().shared();
        state.in_flight = Some(fetch.clone());
        fetch
    }

    async fn fetch(&self, trace: Trace, now: DateTime<Utc>) -> Result<Arc<Keys>, ProviderError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let (url, body) = (self.url.clone(), Vec::new());
        let call = Call {
            operation: Operation::BankIdKeys,
            method: Method::GET,
            url,
            headers,
            body,
            trace,
        };
        self.http
            .call(call, |reply| {
                if reply.status != 200 {
                    return Err(ProviderError::from_status(reply.status, None, reply.retry_after()));
                }
                let set: CoreJsonWebKeySet = reply.json()?;
                if set.keys().is_empty() {
                    return Err(ProviderError::Unreadable {
                        what: "the key set is empty",
                    });
                }
                let fresh_until = now + self.ttl;
                let promised = max_age(&reply).map_or(fresh_until, |promised| now + promised.min(LONGEST_TRUST));
                Ok(Arc::new(Keys {
                    set,
                    fresh_until,
                    trusted_until: promised.max(fresh_until),
                }))
            })
            .await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can leave it half-written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn max_age(reply: &Reply) -> Option<TimeDelta> {
    let header = reply.header(&CACHE_CONTROL)?;
    let seconds = header.split(',').find_map(|part| {
        let (name, value) = part.trim().split_once('=')?;
        name.eq_ignore_ascii_case("max-age")
            .then(|| value.trim_matches('"').parse::<u32>().ok())?
    })?;
    Some(TimeDelta::seconds(i64::from(seconds)))
}
