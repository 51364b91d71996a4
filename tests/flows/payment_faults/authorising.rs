//! A worker dies while it starts the approval of a payment, at a bank that wants a call of its own for it.

use drop_sandbox::{Fault, Operation};
use drop_tests::app::TestApp;

use super::scene::{Payer, recovers, worker_dies_the};
use crate::paying::{execute, shown};

/// Its link is lost, and with it the payment: the time for approval ends it, and it is withdrawn.
const ENDS: &str = "failed:sca_timeout";

#[tokio::test(flavor = "multi_thread")]
async fn p1_p5_p6_a_worker_that_dies_while_it_starts_an_approval_starts_none_twice_and_loses_no_payment() {
    let app = TestApp::start().await;
    app.sandbox
        .neonomics()
        .configure(|bank| bank.explicit_authorisation = true);
    let payer = Payer::of(&app).await;
    // A worker reaches the queue's points with the order first.
    for (point, nth, bank, started, end) in [
        ("queue.claimed", 2, None, 1, "completed"),
        ("authorise.claimed", 1, None, 1, "completed"),
        ("authorise.written", 1, None, 1, "completed"),
        ("authorise.sending", 1, None, 0, ENDS),
        ("authorise.response_read", 1, None, 1, ENDS),
        ("authorise.response_read", 1, Some(Fault::status(500)), 0, ENDS),
        ("authorise.response_read", 1, Some(Fault::ExecuteThenDrop), 1, ENDS),
        ("authorise.result", 1, None, 1, ENDS),
        ("queue.domain_committed", 1, None, 1, "completed"),
        ("queue.domain_committed", 1, Some(Fault::ExecuteThenDrop), 1, ENDS),
    ] {
        let id = payer.orders().await;
        if let Some(fault) = bank.clone() {
            app.sandbox.fault(Operation::PaymentAuthorise, fault, 1);
        }
        worker_dies_the(nth, &app, "payment.send", point).await;
        let mut stands = payer.plays_out(&id).await;
        if stands == "processing?" {
            assert!(
                shown(&payer.person, &id).await["scaRedirect"].is_null(),
                "{point}, {bank:?}"
            );
            let over = "UPDATE transactions SET sca_deadline = clock_timestamp() - interval '1 s' WHERE NOT bank_final";
            execute(&app, over).await;
            recovers(&app).await;
            stands = payer.standing(&id).await;
        }
        assert_eq!(stands, end, "{point}, {bank:?}");
        let orders = app.sandbox.neonomics().payments();
        let newest = orders.iter().max_by_key(|order| order.minor).unwrap();
        assert_eq!(newest.authorisations, started, "{point}, {bank:?}");
        app.check_the_books().await;
    }
    app.finish().await;
}
