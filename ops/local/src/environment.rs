//! The variables the children are started with: the only place that knows their names.
use std::ffi::OsString;

use crate::ports::Ports;
use crate::secrets::{Secrets, sha256};

/// What is taken over from the launcher's own environment. Nothing else is, so that no variable lying in a shell
/// (a `SENTRY_DSN`, a real provider's address) reaches the simulated system.
const KEPT: [&str; 7] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// The addresses of one run.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// The public API.
    pub(crate) api: String,
    /// The API's probes and metrics.
    pub(crate) api_internal: String,
    /// The worker's probes and metrics.
    pub(crate) worker_internal: String,
    /// The simulated providers and their control interface.
    pub(crate) sandbox: String,
}

impl Addresses {
    /// All on loopback.
    pub(crate) fn of(ports: Ports) -> Self {
        let at = |port: u16| format!("http://127.0.0.1:{port}");
        Self {
            api: at(ports.api),
            api_internal: at(ports.api_internal),
            worker_internal: at(ports.worker_internal),
            sandbox: at(ports.sandbox),
        }
    }
}

/// The environment of every child of one run, but for `DATABASE_URL`, of which each has its own. Secrets are new in each run,
/// but for the webhooks' where somebody chose it. Whoever has the token is an operator.
pub(crate) fn of_children(
    ports: Ports,
    webhook_secret: Option<String>,
    operator_token: &str,
) -> anyhow::Result<Vec<(OsString, OsString)>> {
    let Addresses { api, sandbox, .. } = Addresses::of(ports);
    let secrets = Secrets::new();
    let webhook_secret = webhook_secret.map_or_else(|| secrets.bytes(), Ok)?;
    let listen = |port: u16| format!("127.0.0.1:{port}");
    let values = [
        ("DROP_PROFILE", "local".to_owned()),
        ("DROP_PUBLIC_URL", api.clone()),
        // Nothing is served there: whoever plays the app copies the code from the address bar.
        ("DROP_APP_LINK", format!("{api}/app/login")),
        ("DROP_API_LISTEN", listen(ports.api)),
        ("DROP_API_INTERNAL_LISTEN", listen(ports.api_internal)),
        ("DROP_WORKER_INTERNAL_LISTEN", listen(ports.worker_internal)),
        (
            "DROP_OPERATOR_TOKENS",
            format!("local:operator:{}", sha256(operator_token)),
        ),
        ("DROP_API_DRAIN_MS", "0".to_owned()), // there is no balancer that must notice
        ("DROP_WORKER_DRAIN_MS", "5000".to_owned()), // a person is waiting for Ctrl-C to be done
        ("DROP_SANDBOX_LISTEN", listen(ports.sandbox)),
        ("DROP_SESSION_KEY", secrets.signing_key()?),
        ("DROP_ENCRYPTION_KEY", secrets.bytes()?),
        ("BANKID_MOCK", "true".to_owned()),
        ("BANKID_ISSUER", format!("{sandbox}/bankid")),
        ("BANKID_CLIENT_ID", "drop-local".to_owned()),
        ("BANKID_CLIENT_SECRET", secrets.bytes()?),
        ("BANKID_REDIRECT_URI", format!("{api}/api/auth/bankid/callback")),
        ("BANKID_SYNTHETIC_IDS", "tenor".to_owned()), // the sandbox's people have synthetic numbers
        ("NEONOMICS_BASE_URL", format!("{sandbox}/neonomics")),
        ("NEONOMICS_TOKEN_URL", format!("{sandbox}/neonomics/auth/token")),
        ("NEONOMICS_CLIENT_ID", "drop-local".to_owned()),
        ("NEONOMICS_CLIENT_SECRET", secrets.bytes()?),
        ("SUMSUB_BASE_URL", format!("{sandbox}/sumsub")),
        ("SUMSUB_APP_TOKEN", secrets.bytes()?),
        ("SUMSUB_SECRET_KEY", webhook_secret),
    ];
    let values = values.into_iter().map(|(name, value)| (name.into(), value.into()));
    let kept = KEPT
        .iter()
        .filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
    Ok(values.chain(kept).collect())
}
