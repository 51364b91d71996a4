//! What a person is told, for them to read.

use chrono::{DateTime, Utc};
use drop_common::{domain::ids::NotificationId, storage::notifications};
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Path, Query},
    payload::Json,
    types::Example,
};

use crate::{
    error::{ApiError, Code},
    health::Chapter,
    session::Session,
    state::State,
};

/// The most notifications of one page.
pub(crate) const PAGE: i64 = 50;

/// The operations.
pub struct NotificationsApi {
    state: State,
}

impl NotificationsApi {
    /// The operations over the shared state.
    pub fn new(state: State) -> Self {
        Self { state }
    }
}

/// Something that a person is told.
#[derive(Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub struct Notification {
    /// The notification's id, `ntf_…`.
    pub id: String,
    /// What it is about: `kyc`, `payment` or `consent`. More may come.
    pub kind: String,
    /// One line, in Norwegian.
    pub title: String,
    /// What it means for them; may be empty.
    pub body: String,
    /// When it happened.
    pub created_at: DateTime<Utc>,
    /// When they read it; absent while they have not.
    pub read_at: Option<DateTime<Utc>>,
}

impl From<notifications::Notification> for Notification {
    fn from(told: notifications::Notification) -> Self {
        Self {
            id: told.id.to_string(),
            kind: told.kind,
            title: told.title,
            body: told.body,
            created_at: told.created_at,
            read_at: told.read_at,
        }
    }
}

impl Example for Notification {
    fn example() -> Self {
        Self {
            id: "ntf_0190a5a47c7e7d5ab8a1f2d3c4b5a697".into(),
            kind: "kyc".into(),
            title: "Du er nå verifisert".into(),
            body: "Nå kan du koble til banken din og betale.".into(),
            created_at: DateTime::UNIX_EPOCH,
            read_at: None,
        }
    }
}

/// A page of notifications, newest first.
#[derive(Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub struct Notifications {
    /// At most 50.
    pub notifications: Vec<Notification>,
    /// `before` of the next page, `ntf_…`; absent on the last one.
    pub next: Option<String>,
}

impl Example for Notifications {
    fn example() -> Self {
        Self {
            notifications: vec![Notification::example()],
            next: None,
        }
    }
}

/// The answer to one that was read.
#[derive(ApiResponse)]
pub enum Marked {
    /// It is marked, now or before.
    #[oai(status = 204)]
    Read,
}

#[OpenApi(tag = "Chapter::Notifications")]
impl NotificationsApi {
    /// List what the person was told, newest first.
    ///
    /// At most 50 at a time; `before` asks for the next page.
    #[oai(path = "/v1/me/notifications", method = "get", operation_id = "listNotifications")]
    async fn list(
        &self,
        session: Session,
        /// Only notifications older than this one, `ntf_…`: `next` of the page before.
        before: Query<Option<String>>,
    ) -> Result<Json<Notifications>, ApiError> {
        let before: Option<NotificationId> = before
            .0
            .map(|id| id.parse())
            .transpose()
            .map_err(|_| ApiError::field("before", "is not a notification's id"))?;
        let user = session.user.into();
        let mut page = notifications::list(&mut *self.state.begin_for(user).await?, user, before, PAGE + 1).await?;
        let more = page.len() > usize::try_from(PAGE).unwrap_or(usize::MAX);
        if more {
            page.pop();
        }
        let next = page.last().filter(|_| more).map(|last| last.id.to_string());
        Ok(Json(Notifications {
            notifications: page.into_iter().map(Notification::from).collect(),
            next,
        }))
    }

    /// Mark a notification as read.
    ///
    /// The first time counts.
    #[oai(
        path = "/v1/me/notifications/:id/read",
        method = "post",
        operation_id = "readNotification"
    )]
    async fn read(
        &self,
        session: Session,
        /// The notification's id, `ntf_…`.
        id: Path<String>,
    ) -> Result<Marked, ApiError> {
        let id: NotificationId = id.0.parse().map_err(|_| ApiError::of(Code::NotFound))?;
        let user = session.user.into();
        let mut tx = self.state.begin_for(user).await?;
        if notifications::mark_read(&mut *tx, user, id).await? {
            tx.commit().await?;
            Ok(Marked::Read)
        } else {
            Err(ApiError::of(Code::NotFound))
        }
    }
}
