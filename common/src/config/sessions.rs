use chrono::Duration;

use super::reader::Reader;
use crate::domain::session::Channel;

/// How long sessions live. An access token always ends after 10 minutes; a session is as old as its refresh tokens let it be.
#[derive(Debug, Clone, Copy)]
pub struct SessionConfig {
    /// `DROP_SESSION_WEB_HOURS`, hours, default 24 (at most 24): the longest life of a browser's session, however much it
    /// is used.
    pub web_life: Duration,
    /// `DROP_SESSION_WEB_IDLE_MINUTES`, minutes, default 60: without a refresh a browser's session ends.
    pub web_idle: Duration,
    /// `DROP_SESSION_APP_DAYS`, days, default 60 (at most 90): the longest life of an app's session.
    pub app_life: Duration,
    /// `DROP_SESSION_APP_IDLE_DAYS`, days, default 14: without a refresh an app's session ends.
    pub app_idle: Duration,
}

impl SessionConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            web_life: Duration::hours(reader.number("DROP_SESSION_WEB_HOURS", 24, 1..=24)),
            web_idle: Duration::minutes(reader.number("DROP_SESSION_WEB_IDLE_MINUTES", 60, 11..=1_440)),
            app_life: Duration::days(reader.number("DROP_SESSION_APP_DAYS", 60, 1..=90)),
            app_idle: Duration::days(reader.number("DROP_SESSION_APP_IDLE_DAYS", 14, 1..=90)),
        }
    }

    /// The longest life of a channel's sessions.
    pub fn life(&self, channel: Channel) -> Duration {
        match channel {
            Channel::Web => self.web_life,
            Channel::Mobile => self.app_life,
        }
    }

    /// How long a channel's sessions live without a refresh.
    pub fn idle(&self, channel: Channel) -> Duration {
        match channel {
            Channel::Web => self.web_idle,
            Channel::Mobile => self.app_idle,
        }
    }
}
