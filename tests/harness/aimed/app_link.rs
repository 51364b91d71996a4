//! What the app's universal link is to a phone, on this machine: a page that a browser is sent to when it comes back.

use std::collections::BTreeMap;

use poem::{Endpoint, Request, Response, Server, listener::TcpAcceptor};
use reqwest::Url;
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
    task::JoinHandle,
};

use super::PATIENCE;
use crate::app::url_of;

type Opened = BTreeMap<String, String>;

/// The page, and what it was opened with.
pub struct AppLink {
    /// What `DROP_APP_LINK` is to be.
    pub url: String,
    opened: Mutex<mpsc::UnboundedReceiver<Opened>>,
    server: JoinHandle<()>,
}

impl AppLink {
    pub(super) fn open(listener: TcpListener) -> Self {
        let url = format!("{}/app", url_of(&listener));
        let (open, opened) = mpsc::unbounded_channel();
        let acceptor = TcpAcceptor::from_tokio(listener).expect("a listener");
        let server = Server::new_with_acceptor(acceptor).run(Page(open));
        let server = tokio::spawn(async move { server.await.expect("the page is served") });
        Self {
            url,
            opened: Mutex::new(opened),
            server,
        }
    }

    /// Waits until a browser opens it.
    pub async fn opened(&self) -> Opened {
        let mut opened = self.opened.lock().await;
        let opened = tokio::time::timeout(PATIENCE, opened.recv()).await;
        opened
            .expect("somebody comes back in time")
            .expect("the page is served")
    }
}

impl Drop for AppLink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Page(mpsc::UnboundedSender<Opened>);

impl Endpoint for Page {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let asked = request.original_uri().to_string();
        let asked = Url::parse("http://app/").and_then(|base| base.join(&asked));
        let opened: Opened = asked.map_or_else(|_| Opened::new(), |url| url.query_pairs().into_owned().collect());
        // A browser also asks for an icon.
        if opened.contains_key("login") {
            // Nobody waits for it any more: the test has ended.
            let _ = self.0.send(opened);
        }
        let page = "<!doctype html><title>Drop</title><p>This is the app's place. Go back to the terminal.";
        Ok(Response::builder().content_type("text/html").body(page))
    }
}
