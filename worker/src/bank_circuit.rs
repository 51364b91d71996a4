//! Who may ask a bank about accounts now, and what is learnt from its answer, where each bank has a circuit of its own
//! (`AISP_CIRCUIT_PER_BANK`). Neonomics' circuit, which the lanes are behind, then counts only what no bank can be blamed for:
//! that Neonomics could not be connected to, or gave no token. Without the setting that one circuit counts everything.

use std::time::Duration;

use drop_common::{
    domain::ids::AccountId,
    providers::{Class, ProviderError},
    queue::Lease,
    resilience::{
        backoff,
        bank_breaker::BankCircuit,
        breaker::{BreakerKey, Ticket},
    },
    storage::{StorageError, accounts},
};

use crate::context::Context;

/// While somebody else probes.
const PROBED: Duration = Duration::from_secs(5);

/// Whether the bank may be asked.
pub(crate) enum Admission {
    /// It may, with this.
    Go(Pass),
    /// Its circuit is open; it may be, after this long.
    Wait(Duration),
}

/// The right to ask a bank, to be given back or reported with.
pub(crate) struct Pass(Option<(BankCircuit, Ticket)>);

impl Context {
    /// Whether this bank may be asked now; where its circuit is half-open, by one call.
    pub(crate) async fn admit_to(&self, bank: &str) -> Result<Admission, StorageError> {
        if !self.settings.aisp.circuit_per_bank {
            return Ok(Admission::Go(Pass(None)));
        }
        let bank = BankCircuit::of(bank);
        let circuit = self.breaker.of_bank(&bank).await?;
        if !circuit.open {
            let ticket = Ticket {
                epoch: circuit.epoch,
                probe: None,
            };
            return Ok(Admission::Go(Pass(Some((bank, ticket)))));
        }
        Ok(match self.breaker.probe(&bank).await? {
            Some(probe) => {
                let ticket = Ticket {
                    epoch: probe.epoch,
                    probe: Some(probe.id),
                };
                Admission::Go(Pass(Some((bank, ticket))))
            }
            None => Admission::Wait(backoff::between(circuit.retry_in, circuit.retry_in + PROBED)),
        })
    }

    /// The same for the bank of an account.
    pub(crate) async fn admit_to_bank_of(&self, account: AccountId) -> Result<Admission, StorageError> {
        if !self.settings.aisp.circuit_per_bank {
            return Ok(Admission::Go(Pass(None)));
        }
        match accounts::bank(&self.db, account).await? {
            Some(bank) => self.admit_to(&bank).await,
            None => Ok(Admission::Go(Pass(None))),
        }
    }

    /// No call was made after all. A probe that is not given back ends with its lease.
    pub(crate) async fn give_back(&self, pass: Pass) {
        if let Some((bank, Ticket { probe: Some(probe), .. })) = pass.0
            && let Err(error) = self.breaker.release(&bank, probe).await
        {
            tracing::warn!(%error, "the probe of a bank was not given back; it ends by itself");
        }
    }

    /// Tells the circuits how the call went. Whatever a bank answers, Neonomics is there.
    pub(crate) async fn report_read(&self, lease: &Lease, pass: Pass, error: Option<&ProviderError>) {
        let Some((bank, ticket)) = &pass.0 else {
            return self.report(lease, BreakerKey::NeonomicsAisp, error).await;
        };
        let on_the_way = error.filter(|error| error.class() == Class::NotSent);
        self.report(lease, BreakerKey::NeonomicsAisp, on_the_way).await;
        if on_the_way.is_some() {
            return self.give_back(pass).await;
        }
        let told = async {
            if error.is_some_and(ProviderError::counts_for_breaker) {
                self.breaker.begin_bank(bank).await?;
            }
            self.tell_circuit(bank, BreakerKey::NeonomicsAisp, *ticket, error).await
        };
        if let Err(error) = told.await {
            tracing::warn!(%error, "the circuit of a bank was not told how a call went");
        }
    }
}
