//! Whose a token is, for the form to sign in and for programs alike.

use std::time::Duration;

use drop_common::{
    config::OperatorToken,
    keyring::sha256,
    resilience::limits::{self, Limit},
    storage::{self, StorageError},
};
use poem::Request;
use subtle::ConstantTimeEq as _;

use crate::context::Context;

/// So many tokens from one address may be nobody's, within [`WINDOW`]. A token is long and random: this keeps the log readable,
/// and tells of whoever tries.
const TRIES: u16 = 10;
const WINDOW: Duration = Duration::from_mins(5);

/// Why a token lets nobody in.
#[derive(Debug)]
pub(super) enum Nobodys {
    /// It is nobody's.
    Wrong,
    /// It is nobody's, as many from that address were; another may be tried after so many seconds.
    TooMany(u64),
    /// It is nobody's, and that could not be counted.
    Failed(StorageError),
}

/// Whose token that is. It is looked at first: many come from one address, a forwarded port's or a proxy's, and whoever has a token
/// is kept out by nobody's tries. All hashes are compared, each in constant time.
pub(super) async fn holder<'a>(
    token: &str,
    request: &Request,
    context: &'a Context,
) -> Result<&'a OperatorToken, Nobodys> {
    let hash = sha256(token.as_bytes());
    let mut found = None;
    for known in &context.settings.operators.tokens {
        if bool::from(known.hash.ct_eq(&hash)) {
            found = Some(known);
        }
    }
    if let Some(holder) = found {
        return Ok(holder);
    }
    match count(request, context).await {
        Ok(Limit::Allowed) => {
            tracing::warn!("somebody showed an operator's token that is nobody's");
            Err(Nobodys::Wrong)
        }
        Ok(Limit::RetryAfter(seconds)) => Err(Nobodys::TooMany(seconds)),
        Err(error) => Err(Nobodys::Failed(error)),
    }
}

async fn count(request: &Request, context: &Context) -> Result<Limit, StorageError> {
    let from = request.remote_addr().as_socket_addr();
    let ip = from.map(|peer| peer.ip().to_canonical().to_string());
    let mut tx = storage::begin(&context.db).await?;
    let key = format!("operator.sign_in:{}", ip.unwrap_or_default());
    let limit = limits::hit(&mut tx, &key, TRIES, WINDOW).await?;
    tx.commit().await?;
    Ok(limit)
}
