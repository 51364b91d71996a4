//! A provider that lets nobody in without a certificate, and an authority that gives certificates out to tests.

use std::{
    ops::Range,
    sync::{Arc, LazyLock, Mutex},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::testing::receive;

/// Who gives certificates out.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

static TRUSTED: LazyLock<Authority> = LazyLock::new(Authority::new);

/// The authority that every client in these tests trusts.
pub(crate) fn authority() -> reqwest::Certificate {
    reqwest::Certificate::from_der(TRUSTED.0.der()).expect("a certificate")
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
    der: CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// A certificate of this name, valid from the first day of the first year to the first day of the last.
    pub(crate) fn certify(&self, name: &str, years: Range<i32>) -> Pair {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a host's name");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(years.start, 1, 1);
        params.not_after = date_time_ymd(years.end, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
        }
    }
}

/// A client's certificate of the authority that is trusted.
pub(crate) fn certify(name: &str, years: Range<i32>) -> Pair {
    TRUSTED.certify(name, years)
}

/// A request, and whose certificate was shown with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) line: String,
}

/// Gives every client a token that is good with its own certificate alone, and says of every payment that it is accepted;
/// of those that are called `slow`, once [`TlsProvider::let_go`] was called.
pub(crate) struct TlsProvider {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Shown>>>,
    held: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl TlsProvider {
    /// Knows the certificates of these clients, and no others'.
    pub(crate) async fn start(clients: Vec<(&'static str, Pair)>) -> Self {
        super::install_tls();
        let mut roots = RootCertStore::empty();
        roots.add(TRUSTED.0.der().clone()).expect("an authority");
        let verifier = WebPkiClientVerifier::builder(roots.into()).build().expect("a verifier");
        let own = certify("localhost", 2000..2100);
        let key = PrivateKeyDer::try_from(KeyPair::from_pem(&own.key).expect("a key").serialize_der()).expect("a key");
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![own.der], key)
            .expect("a server's certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("https://localhost:{}", listener.local_addr().expect("bound").port());
        let (seen, (held, is_held)) = (Arc::default(), watch::channel(true));
        let record = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (clients, record) = (clients.clone(), Arc::clone(&record));
                tokio::spawn(serve(acceptor.clone(), stream, clients, record, is_held.clone()));
            }
        });
        Self { url, seen, held, task }
    }

    pub(crate) fn seen(&self) -> Vec<Shown> {
        self.seen.lock().expect("not poisoned").clone()
    }

    /// Answers what is slow.
    pub(crate) fn let_go(&self) {
        self.held.send_replace(false);
    }
}

impl Drop for TlsProvider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    clients: Vec<(&'static str, Pair)>,
    record: Arc<Mutex<Vec<Shown>>>,
    mut held: watch::Receiver<bool>,
) {
    let mut stream = match acceptor.accept(stream).into_fallible().await {
        Ok(stream) => stream,
        Err((_refused, mut stream)) => {
            // What the client has sent by now is read and thrown away, or the alert would be lost with a reset.
            let _half_closed = stream.shutdown().await;
            let _gone = stream.read_to_end(&mut Vec::new()).await;
            return;
        }
    };
    let name = name_of(stream.get_ref().1, &clients);
    while let Some(request) = receive(&mut stream).await {
        let line = request.line().to_owned();
        record.lock().expect("not poisoned").push(Shown {
            name: name.clone(),
            line: line.clone(),
        });
        if line.contains("slow") {
            let _let_go = held.wait_for(|held| !held).await;
        }
        let token = format!("for-{name}");
        let (status, body) = if line.contains("/auth/token") {
            let known = clients.iter().any(|(known, _)| *known == name);
            let granted = format!(r#"{{"access_token":"{token}","expires_in":3600}}"#);
            if known { (200, granted) } else { (401, String::new()) }
        } else if request.header("authorization") == Some(&format!("Bearer {token}")) {
            (200, r#"{"transactionStatus":"ACCP"}"#.to_owned())
        } else {
            (401, r#"{"tppMessages":[{"code":"TOKEN_INVALID"}]}"#.to_owned())
        };
        let head = format!("HTTP/1.1 {status} Test\r\ncontent-length: {}\r\n\r\n", body.len());
        let _peer_may_be_gone = stream.write_all(format!("{head}{body}").as_bytes()).await;
    }
}

fn name_of(connection: &ServerConnection, clients: &[(&'static str, Pair)]) -> String {
    let shown = connection.peer_certificates().and_then(<[_]>::first);
    let known = clients.iter().find(|(_, pair)| Some(&pair.der) == shown);
    known.map_or("nobody", |(name, _)| name).to_owned()
}
