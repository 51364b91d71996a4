use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use openidconnect::{
    JsonWebKey, JsonWebKeyAlgorithm, JsonWebKeyUse,
    core::{CoreJsonWebKey, CoreJsonWebKeySet, CoreJsonWebKeyType},
};
use reqwest::{
    Method,
    header::{ACCEPT, CACHE_CONTROL, HeaderMap, HeaderValue},
};

use super::{json, verify::ALGORITHMS};
use crate::{
    alerts,
    providers::{
        Operation, ProviderError,
        http::{Call, GuardedClient, Reply, Trace},
    },
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

impl State {
    /// The fetch that is under way.
    fn running(&self) -> Option<Shared<BoxFuture<'static, Fetched>>> {
        self.in_flight
            .as_ref()
            .filter(|running| running.peek().is_none())
            .cloned()
    }

    /// A fetch has ended. The old keys stay where it failed: a failure is never cached.
    fn settle(&mut self, fetched: &Fetched, trace: Trace, now: DateTime<Utc>) {
        self.in_flight = None;
        let error = match fetched {
            Ok(keys) => {
                self.keys = Some(Arc::clone(keys));
                return;
            }
            Err(error) => error,
        };
        tracing::error!(
            provider = "bankid",
            class = error.class().as_str(),
            "could not fetch BankID's signing keys: {error}"
        );
        // Without trusted keys the login that waits is refused, which raises an alert of its own.
        if self.keys.as_ref().is_some_and(|keys| now < keys.trusted_until) {
            let class = error.class().as_str();
            let about = format_args!("request {}, {class}", trace.request_id);
            alerts::raise_for(&alerts::BANKID_KEYS, class, about);
        }
    }
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
    /// forbids another fetch; it counts from the last one that was answered.
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
            let cools_down = state.unknown_kid_at.is_some_and(|at| now < at + UNKNOWN_KID_COOLDOWN);
            // A fetch that is under way costs nothing more: of logins that meet a new key together, each gets in.
            if cools_down && state.running().is_none() {
                return None;
            }
            self.start(&mut state, trace, now)
        };
        let fetched = fetch.await;
        if fetched.is_ok() {
            self.lock().unknown_kid_at = Some(now);
        }
        Some(fetched)
    }

    /// Joins the fetch that is running, or starts one. It is a task, so that a caller who goes
    /// away does not end it for the others.
    fn start(
        self: &Arc<Self>,
        state: &mut State,
        trace: Trace,
        now: DateTime<Utc>,
    ) -> Shared<BoxFuture<'static, Fetched>> {
        if let Some(running) = state.running() {
            return running;
        }
        let cache = Arc::clone(self);
        // Other logins wait for it too, so it does not end with the lease of the job that happened to start it.
        let trace = Trace {
            not_after: None,
            ..trace
        };
        let task = tokio::spawn(async move {
            let fetched = cache.fetch(trace, now).await.map_err(Arc::new);
            cache.lock().settle(&fetched, trace, now);
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
                let published: CoreJsonWebKeySet = json(&reply)?;
                let set = CoreJsonWebKeySet::new(published.keys().iter().filter(|key| signs(key)).cloned().collect());
                if set.keys().is_empty() {
                    return Err(ProviderError::Unreadable {
                        what: "no key of the set is one for signatures",
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

/// Whether a key can have signed a token: it is not for encryption, and for one of the pinned algorithms.
fn signs(key: &CoreJsonWebKey) -> bool {
    let for_signatures = key.key_use().is_none_or(JsonWebKeyUse::allows_signature);
    for_signatures
        && match key.signing_alg() {
            JsonWebKeyAlgorithm::Algorithm(algorithm) => ALGORITHMS.contains(algorithm),
            JsonWebKeyAlgorithm::Unspecified => matches!(
                key.key_type(),
                CoreJsonWebKeyType::RSA | CoreJsonWebKeyType::EllipticCurve
            ),
            JsonWebKeyAlgorithm::Unsupported => false,
        }
}

/// For how long the provider promises its keys (RFC 9111 section 5.2.2); not at all where they must be asked for anew.
fn max_age(reply: &Reply) -> Option<TimeDelta> {
    let headers = reply.headers.get_all(CACHE_CONTROL).iter();
    let directives = headers
        .filter_map(|header| header.to_str().ok())
        .flat_map(|text| text.split(','));
    let mut promised = None;
    for directive in directives {
        let (name, value) = directive.trim().split_once('=').unwrap_or((directive.trim(), ""));
        match name.to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return None,
            "max-age" => promised = value.trim_matches('"').parse::<u32>().ok(),
            _ => {}
        }
    }
    promised.map(|seconds| TimeDelta::seconds(i64::from(seconds)))
}
