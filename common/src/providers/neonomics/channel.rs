//! The way to Neonomics: connections that show one certificate, and the access token that was given to it. The two change
//! together, because a token may be bound to the certificate it was asked for with (RFC 8705).

use chrono::{DateTime, Utc};

use super::{Neonomics, token::TokenCache};
use crate::{
    config::NeonomicsConfig,
    providers::{
        CertificateError, ProviderError, SharedObserver,
        certificate::{ClientCertificate, UncheckedCertificate},
        http::{BODY_CAP, GuardedClient, Limits, Trace},
    },
};

pub(super) struct Channel {
    pub(super) http: GuardedClient,
    pub(super) tokens: TokenCache,
    certificate: Option<ClientCertificate>,
}

/// Why there is no client for Neonomics.
#[derive(Debug, thiserror::Error)]
pub enum NotSetUp {
    /// The client certificate was asked for and cannot be used.
    #[error("NEONOMICS_CLIENT_CERT and NEONOMICS_CLIENT_KEY cannot be used: {0}")]
    Certificate(#[from] CertificateError),
    /// No client for the configured addresses.
    #[error("no client for Neonomics could be made")]
    Client(#[from] ProviderError),
}

impl Channel {
    /// With the certificate of the configuration, if there is one. One that has ended is taken all the same: whether it
    /// still serves the provider decides, and logins do not depend on it.
    pub(super) fn configured(config: &NeonomicsConfig, observer: SharedObserver) -> Result<Self, NotSetUp> {
        let Some(files) = &config.client_certificate else {
            return Ok(Self::open(config, observer, None)?);
        };
        let certificate = UncheckedCertificate::read(files)?.check()?;
        Ok(Self::open(config, observer, Some(certificate)).map_err(|_| CertificateError::Unusable)?)
    }

    fn open(
        config: &NeonomicsConfig,
        observer: SharedObserver,
        certificate: Option<ClientCertificate>,
    ) -> Result<Self, ProviderError> {
        let limits = Limits {
            connect: config.connect_timeout,
            total: config.read_timeout,
            body: BODY_CAP,
        };
        let urls = [config.base_url.as_str(), config.token_url.as_str()];
        Ok(Self {
            http: GuardedClient::with_certificate(urls, &limits, observer, certificate.as_ref())?,
            tokens: TokenCache::default(),
            certificate,
        })
    }

    /// Fetches an access token, whether or not the present one is still good.
    pub(super) async fn renew_token(
        &self,
        config: &NeonomicsConfig,
        trace: Trace,
        now: DateTime<Utc>,
    ) -> Result<(), ProviderError> {
        self.tokens.renew(&self.http, config, trace, now).await
    }
}

impl Neonomics {
    /// Until when our client certificate is valid, where there is one.
    pub fn certificate_ends(&self) -> Option<DateTime<Utc>> {
        self.channel().certificate.as_ref().map(ClientCertificate::ends)
    }

    /// Looks at the certificate's files again; true where another one was taken from them. That is done once Neonomics has
    /// given a token to it: what cannot be read, or is not accepted there, must not take the place of what is. Calls that
    /// are under way end as they began; the next ones connect anew.
    pub async fn look_at_certificate(&self, trace: Trace, now: DateTime<Utc>) -> Result<bool, CertificateError> {
        let Some(files) = &self.config.client_certificate else {
            return Ok(false);
        };
        let found = UncheckedCertificate::read(files)?;
        let shown = self.channel().certificate.as_ref().map(ClientCertificate::fingerprint);
        if shown == Some(found.fingerprint()) {
            return Ok(false);
        }
        let certificate = found.check()?;
        certificate.is_valid(now)?;
        let channel = Channel::open(&self.config, self.observer.clone(), Some(certificate))
            .map_err(|_| CertificateError::Unusable)?;
        let token = channel.renew_token(&self.config, trace, now).await;
        token.map_err(CertificateError::NotAccepted)?;
        self.replace_channel(channel);
        Ok(true)
    }
}
