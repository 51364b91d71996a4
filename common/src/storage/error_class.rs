//! What the database's errors have in common, and how many of each this process has met.

use std::sync::atomic::{AtomicU64, Ordering};

/// A kind of error; the label of `drop_db_errors_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The connection broke, there was none to be had at the server, or it is not the primary any more.
    Connection,
    /// Each connection of this process was in use for too long.
    Pool,
    /// Another transaction was in the way: a lock, a deadlock.
    Contention,
    /// It took longer than a statement or a transaction may.
    Timeout,
    /// A row that a rule of the schema refuses: many are expected, such as a second request with one key.
    Constraint,
    /// Its disk or its memory is full.
    Resources,
    /// Anything else, a mistake of ours among it.
    Other,
}

/// Of the process and not of a pool: an error is met wherever a statement is.
static MET: [AtomicU64; ErrorClass::ALL.len()] = [const { AtomicU64::new(0) }; ErrorClass::ALL.len()];

impl ErrorClass {
    /// Every class, in the order of the counts.
    pub const ALL: [Self; 7] = [
        Self::Connection,
        Self::Pool,
        Self::Contention,
        Self::Timeout,
        Self::Constraint,
        Self::Resources,
        Self::Other,
    ];

    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Pool => "pool",
            Self::Contention => "contention",
            Self::Timeout => "timeout",
            Self::Constraint => "constraint",
            Self::Resources => "resources",
            Self::Other => "other",
        }
    }

    /// How many this process has met since it started.
    pub fn met(self) -> u64 {
        MET[self as usize].load(Ordering::Relaxed)
    }

    /// Counts an error. That a row is not there is none.
    pub(super) fn meet(error: &sqlx::Error) {
        if !matches!(error, sqlx::Error::RowNotFound) {
            MET[Self::of(error) as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether it passes by itself, so that the same work may succeed a moment later.
    pub(super) const fn passes(self) -> bool {
        match self {
            Self::Connection | Self::Pool | Self::Contention | Self::Timeout | Self::Resources => true,
            Self::Constraint | Self::Other => false,
        }
    }

    pub(super) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => Self::of_state(error.code().as_deref().unwrap_or_default()),
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Self::Connection
            }
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Self::Pool,
            _ => Self::Other,
        }
    }

    /// Of an SQLSTATE.
    fn of_state(state: &str) -> Self {
        match state {
            // Serialisation failure, deadlock, lock not had in time.
            "40001" | "40P01" | "55P03" => Self::Contention,
            // Our own limits of a statement's and of an idle transaction's time.
            "57014" | "25P03" => Self::Timeout,
            // The server ends, or starts; it is read-only, so no longer the primary; it has no more connections.
            "57P01" | "57P02" | "57P03" | "57P05" | "25006" | "53300" => Self::Connection,
            _ => match state.get(..2) {
                Some("08") => Self::Connection,
                Some("23") => Self::Constraint,
                Some("53") => Self::Resources,
                _ => Self::Other,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorClass::{self, Connection, Constraint, Contention, Other, Resources, Timeout};

    #[test]
    fn every_state_is_of_one_class() {
        for (class, states) in [
            (Connection, &["08006", "25006", "53300", "57P01", "57P02", "57P05"][..]),
            (Contention, &["40001", "40P01", "55P03"]),
            (Timeout, &["57014", "25P03"]),
            (Constraint, &["23505", "23514"]),
            (Resources, &["53100", "53200"]),
            (Other, &["42P01", "22P02", "57P04", ""]),
        ] {
            for state in states {
                assert_eq!(ErrorClass::of_state(state), class, "{state}");
            }
        }
    }
}
