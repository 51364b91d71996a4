//! The accounts that a consent opened, as the bank lists them: linked as far as they can be shown, and the rest left out.

use drop_common::{
    domain::{account_number::AccountNumber, ids::ConsentId, money::Currency},
    providers::neonomics::Account,
    queue::{EnqueueOptions, enqueue_with, payloads::RefreshBalance},
    storage::{
        StorageError, Tx,
        accounts::{self, Found},
        balance_reads,
        consents::Consent,
    },
};
use tracing::warn;
use uuid::Uuid;

use crate::context::Context;

/// Longer than any bank's own id for an account.
const LONGEST_RESOURCE_ID: usize = 500;

/// The most accounts that one consent links: more than anybody has, and few enough for one transaction and one list.
const MOST_ACCOUNTS: usize = 100;

/// An account that can be read and shown.
struct Usable<'a> {
    resource_id: &'a str,
    number: AccountNumber,
    currency: Currency,
}

/// Links what can be linked and asks for the first balances, which are attended if the person has just come back from the
/// bank. Which consents the accounts were read with before. An account of no use to us never keeps the others out.
pub(super) async fn link_all(
    ctx: &Context,
    tx: &mut Tx,
    consent: &Consent,
    listed: &[Account],
    request_id: Option<Uuid>,
) -> Result<Vec<ConsentId>, StorageError> {
    let mut usable: Vec<_> = listed.iter().filter_map(Usable::of).collect();
    if usable.len() < listed.len() {
        let left_out = listed.len() - usable.len();
        warn!(consent.id = %consent.id, "{left_out} accounts of consent {} have no usable number, currency or id", consent.id);
    }
    // A number is one account here, and of the currencies under it the same one is taken at each link: kroner first.
    usable.sort_by_key(|account| account.currency);
    let mut linked: Vec<&AccountNumber> = Vec::new();
    let mut taken_from = Vec::new();
    for account in &usable {
        if linked.len() == MOST_ACCOUNTS {
            warn!(consent.id = %consent.id, "consent {} lists more accounts than are linked", consent.id);
            break;
        }
        if linked.contains(&&account.number) {
            warn!(consent.id = %consent.id, "consent {} lists a number in a second currency, {}", consent.id, account.currency);
            continue;
        }
        linked.push(&account.number);
        taken_from.extend(link(ctx, tx, consent, account, request_id).await?);
    }
    Ok(taken_from)
}

async fn link(
    ctx: &Context,
    tx: &mut Tx,
    consent: &Consent,
    account: &Usable<'_>,
    request_id: Option<Uuid>,
) -> Result<Option<ConsentId>, StorageError> {
    let found = Found {
        resource_id: account.resource_id,
        number: &account.number,
        currency: account.currency.code(),
    };
    let linked = accounts::link(tx, &ctx.keys, consent.user, consent.id, &consent.bank, found).await?;
    let refresh = balance_reads::request_refresh(tx, consent.user, linked.id, consent.psu_ip.as_deref()).await?;
    enqueue_with(tx, &RefreshBalance { refresh }, EnqueueOptions::caused_by(request_id)).await?;
    Ok(linked.taken_from)
}

impl<'a> Usable<'a> {
    /// `None`: its balance could not be read, or not shown.
    fn of(account: &'a Account) -> Option<Self> {
        let resource_id = account.resource_id.as_deref().filter(|id| is_id(id))?;
        let iban = account.iban.as_deref().and_then(|text| AccountNumber::iban(text).ok());
        let bban = || account.bban.as_deref().and_then(|text| AccountNumber::bban(text).ok());
        Some(Self {
            resource_id,
            number: iban.or_else(bban)?,
            currency: account.currency.as_deref()?.parse().ok()?,
        })
    }
}

/// What can be a part of a path, and be stored.
fn is_id(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && text.len() <= LONGEST_RESOURCE_ID && !text.chars().any(char::is_control)
}
