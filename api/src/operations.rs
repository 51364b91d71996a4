//! All operations of the public API, in one place: what is served and what is published are the same list.

use crate::{
    accounts::AccountsApi, consents::ConsentsApi, health::HealthApi, kyc::KycApi, logins::LoginsApi,
    notifications::NotificationsApi, payments::PaymentsApi, sessions::SessionsApi, state::State, users::UsersApi,
    webhooks::WebhooksApi,
};

/// Every operation there is.
pub type Operations = (
    HealthApi,
    LoginsApi,
    SessionsApi,
    UsersApi,
    NotificationsApi,
    KycApi,
    ConsentsApi,
    AccountsApi,
    PaymentsApi,
    WebhooksApi,
);

/// The operations over the shared state.
pub fn operations(state: State) -> Operations {
    (
        HealthApi::new(state.db.clone()),
        LoginsApi::new(state.clone()),
        SessionsApi::new(state.clone()),
        UsersApi::new(state.clone()),
        NotificationsApi::new(state.clone()),
        KycApi::new(state.clone()),
        ConsentsApi::new(state.clone()),
        AccountsApi::new(state.clone()),
        PaymentsApi::new(state.clone()),
        WebhooksApi::new(state),
    )
}
