//! A worker dies while it tells the bank about a payment.

use drop_sandbox::{Fault, Operation};
use drop_tests::app::TestApp;
use rstest::rstest;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::scene::{PROGRAM, Payer, kill, worker_dies};

/// Where the worker dies.
#[derive(Debug, Clone, Copy)]
enum Death {
    /// At a point of its own code.
    At(&'static str),
    /// Its connection to the bank stands.
    Connected,
    /// A part of the order is on its way.
    HalfWritten,
    /// The bank has the order and has executed it; its answer is on its way.
    Executed,
}

/// A run: what the bank does with the order, and how it ends where the bank makes one payment of each order, and where it
/// is proven to make one of each key.
struct Run(Death, Option<Fault>, [&'static str; 2]);

const COMPLETES: [&str; 2] = ["completed"; 2];
/// Nobody knows whether the bank has it: sent again only where that is no second payment.
const UNKNOWN: [&str; 2] = ["review", "completed"];

fn runs() -> Vec<Run> {
    let mut runs = vec![
        Run(Death::At("queue.claimed"), None, COMPLETES),
        Run(Death::At("pay.claimed"), None, COMPLETES),
        Run(Death::At("pay.attempt_written"), None, COMPLETES),
        Run(Death::At("pay.sending"), None, UNKNOWN),
        Run(Death::Connected, None, UNKNOWN),
        Run(Death::HalfWritten, None, UNKNOWN),
        Run(Death::Executed, None, UNKNOWN),
    ];
    let executed = Fault::ExecuteThenStatus { code: 503 };
    let answers = [
        // Answered, and recorded only at the last point.
        (None, COMPLETES),
        (Some(Fault::Truncate), UNKNOWN),
        (Some(Fault::ExecuteThenDrop), UNKNOWN),
        (Some(Fault::status(500)), COMPLETES),
        // Executed all the same: sent again by the contract, and where each order is a payment, one is never approved.
        (Some(executed), COMPLETES),
    ];
    for (bank, recorded) in answers {
        for point in ["pay.response_read", "pay.result"] {
            runs.push(Run(Death::At(point), bank.clone(), UNKNOWN));
        }
        let committed = if bank.is_none() {
            "pay.recorded"
        } else {
            "queue.domain_committed"
        };
        runs.push(Run(Death::At(committed), bank, recorded));
    }
    runs
}

#[rstest]
#[case::where_each_order_is_a_payment(false)]
#[case::where_one_key_is_one_payment(true)]
#[tokio::test(flavor = "multi_thread")]
async fn p1_p2_p5_p6_p7_p8_a_worker_that_dies_while_it_sends_loses_no_payment_and_makes_none_twice(
    #[case] proven: bool,
) {
    let app = TestApp::start_with(&[("PISP_DEDUPE_PROVEN", if proven { "true" } else { "false" })]).await;
    app.sandbox.neonomics().configure(|bank| bank.deduplicate = proven);
    let payer = Payer::of(&app).await;
    for Run(death, bank, ends) in runs() {
        let id = payer.orders().await;
        if let Some(fault) = bank.clone() {
            app.sandbox.fault(Operation::Payment, fault, 1);
        }
        match death {
            Death::At(point) => worker_dies(&app, "payment.send", point).await,
            Death::Connected | Death::HalfWritten | Death::Executed => worker_is_cut_off(&app, death).await,
        }
        let end = payer.plays_out(&id).await;
        assert_eq!(end, ends[usize::from(proven)], "{death:?}, {bank:?}");
        app.check_the_books().await;
    }
    app.abandon().await; // the jobs of those in review are dead, for a person to see
}

/// A worker reaches the bank by a way on which it can be seen how far it came, and is killed there.
async fn worker_is_cut_off(app: &TestApp, death: Death) {
    let way = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/neonomics", way.local_addr().unwrap());
    let changes = [("NEONOMICS_BASE_URL", base.as_str()), ("DROP_LANES", "payment.send")];
    let worker = app.worker_process(PROGRAM, &changes);
    let (mut connection, _) = way.accept().await.unwrap();
    let mut bank = TcpStream::connect(app.sandbox.url().trim_start_matches("http://"))
        .await
        .unwrap();
    match death {
        Death::HalfWritten => {
            let order = request(&mut connection).await;
            bank.write_all(&order[..order.len() - 20]).await.unwrap();
        }
        Death::Executed => {
            let order = request(&mut connection).await;
            bank.write_all(&order).await.unwrap();
            bank.read_u8().await.expect("an answer, which goes no further");
        }
        Death::At(_) | Death::Connected => {}
    }
    kill(worker).await;
}

/// The whole request that comes this way.
async fn request(from: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    while !is_whole(&read) {
        assert!(from.read_buf(&mut read).await.unwrap() > 0, "a whole request");
    }
    read
}

fn is_whole(read: &[u8]) -> bool {
    let text = String::from_utf8_lossy(read);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| length.trim().parse().is_ok_and(|length: usize| body.len() >= length))
}
