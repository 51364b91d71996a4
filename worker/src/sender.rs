//! Who brings notifications to people. Pluggable: the log by default, until there is a service that pushes them.

use std::{fmt, future::Future, pin::Pin};

use drop_common::domain::ids::{NotificationId, UserId};
use tracing::info;

/// A notification on its way.
pub struct Outgoing {
    /// Its id. It may be handed over twice, so a receiver tells by it what it has already.
    pub id: NotificationId,
    /// Whose it is.
    pub user: UserId,
    /// `kyc`, `payment`, `consent`.
    pub kind: String,
    /// One line.
    pub title: String,
    /// What it means for them; may be empty.
    pub body: String,
}

/// It was not taken, and may be handed over again.
#[derive(Debug)]
pub struct NotTaken(pub &'static str);

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the notification was not taken: {}", self.0)
    }
}

/// What sending returns.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), NotTaken>> + Send + 'a>>;

/// Brings notifications to people.
pub trait Sender: Send + Sync {
    /// Hands one over.
    fn send<'a>(&'a self, outgoing: &'a Outgoing) -> Sending<'a>;
}

/// Writes a line that names the notification's kind and id, and nothing of the person.
pub struct Log;

impl Sender for Log {
    fn send<'a>(&'a self, outgoing: &'a Outgoing) -> Sending<'a> {
        let Outgoing { id, kind, .. } = outgoing;
        info!(notification.id = %id, kind, "notification {id} of kind {kind}");
        Box::pin(async { Ok(()) })
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use tracing::{level_filters::LevelFilter, subscriber::set_default};

    use super::*;

    #[tokio::test]
    async fn the_log_names_a_notifications_kind_and_id_and_nothing_of_the_person() {
        let (id, user) = (NotificationId::new(), UserId::new());
        let outgoing = Outgoing {
            id,
            user,
            kind: "kyc".to_owned(),
            title: "Hei, Anna".to_owned(),
            body: "Nordmann".to_owned(),
        };
        let (log, writer) = io::pipe().unwrap();
        let logging = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE);
        let logging = set_default(logging.with_writer(Arc::new(writer)).finish());
        assert!(Log.send(&outgoing).await.is_ok());
        drop(logging);
        let logged = io::read_to_string(log).unwrap();
        assert!(logged.contains("kyc") && logged.contains(&id.to_string()), "{logged}");
        for personal in ["Anna", "Nordmann", &user.to_string(), &user.uuid().to_string()] {
            assert!(!logged.contains(personal), "{logged}");
        }
    }
}
