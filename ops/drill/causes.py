"""What causes each alert. Faults are the simulated providers' (tests/sandbox); what takes hours is moved back in the database,
and what only the platform does to us, such as a database that lets nobody in, is done to the processes."""
import contextlib
import http.server
import os
import pathlib
import signal
import subprocess
import threading

from people import Person
from runbooks import IDS
from system import until

# Every alert here arrives with the rules as they are, but for three: hours are made five minutes there, and a week one.
SHORTER = {
    "alerts.yaml": [
        (r"(?<=max by \(state\) \(drop_webhooks_left_over\) > 0\n        for: )1h", "5m"),
        (r"(?<=\[1h\] offset )7d", "1m"),
    ],
    "alerts_platform.yaml": [(r"(?<=max\(drop_erasures_oldest_unmoved_age_seconds\) > 7 \* 86400\n        for: )3h", "5m")],
}
LANES_OF_THE_SECOND = "upkeep"


class Refusing(http.server.ThreadingHTTPServer):
    """A stand-in for Sentry that knows no project."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Scene:
    """Who and what the causes share."""

    def __init__(self, drop, watch, drill, second_api_port):
        self.drop, self.watch, self.wait_for, self.holds_back = drop, watch, drill.wait_for, drill.holds_back
        self.second_api_port, self.second_api = second_api_port, None
        self.anna = Person(drop).signed_in().is_approved().links_a_bank()

    def fault(self, provider, operation, **fault):
        self.drop.sandbox(f"/{provider}/faults", {"operation": operation, **fault})

    def well_again(self, provider):
        self.drop.sandbox(f"/{provider}/faults", method="DELETE")

    @contextlib.contextmanager
    def webhooks_to_the_second_api(self):
        """Of an API with Sumsub's next secret and a Sentry that refuses everything. What it counts must have been scraped once
        before it counts."""
        if not self.second_api:
            old = self.drop.environment("api")["SUMSUB_SECRET_KEY"]
            new = {"SUMSUB_SECRET_KEY": "the-new-secret-of-this-drill", "SUMSUB_SECRET_KEY_PREVIOUS": old}
            dsn = f"http://drill@127.0.0.1:{Refusing().server_port}/1"
            self.second_api, self.second_address = self.drop.second_api(self.second_api_port, SENTRY_DSN=dsn, **new)
        counted = f'drop_alerts_refused_total{{instance="127.0.0.1:{self.second_api_port}"}}'
        until("Prometheus to have found the second API", lambda: self.watch.query(counted))
        self.drop.sandbox("/sumsub/settings", {"webhookUrl": f"{self.second_address}/v1/webhooks/sumsub"})
        try:
            yield
        finally:
            self.drop.sandbox("/sumsub/settings", {"webhookUrl": f"{self.drop.api}/v1/webhooks/sumsub"})

    def lane(self, lane, verb):
        until = ["--until-resumed"] if verb == "pause" else []
        said = self.drop.operator(["lanes", verb, lane, *until, "--operator", "drill", "--reason", "drill"])
        assert said.returncode == 0, said.stderr

    @contextlib.contextmanager
    def stopped(self, *processes):
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    @contextlib.contextmanager
    def shut_out(self, role):
        """The database lets this role in no more, and ends its connections."""
        self.drop.sql(f"ALTER ROLE {role} NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'")
        try:
            yield
        finally:
            self.drop.sql(f"ALTER ROLE {role} LOGIN")


# ── The contract's ───────────────────────────────────────────────────────────────────────────────────────────────────
def webhook_with_a_bad_digest(scene):
    review = {"externalUserId": scene.anna.user, "answer": "GREEN"}
    sent = scene.drop.sandbox("/sumsub/reviews", {"reviews": [review], "delivery": {"digest": "wrong"}})
    assert sent[0]["statuses"] == [401], sent


def minors_log_in(scene):
    for _ in range(35):
        Person(scene.drop, "minor").logs_in().expect(403)


def payments_are_rejected(scene):
    for _ in range(35):
        scene.anna.pays("reject")


def bankid_answers_500(scene):
    scene.fault("bankid", "token", kind="status", code=500)
    for _ in range(65):
        Person(scene.drop).logs_in().expect(502)
    scene.well_again("bankid")


def sumsub_refuses_two_of_three(scene):
    for number in range(24):
        person = Person.new(scene.drop).signed_in().asks_for_the_check()
        if number % 3 == 0:
            person.is_reviewed("GREEN")
        else:
            person.is_reviewed("RED", reviewRejectType="FINAL", rejectLabels=["FORGERY"])


def balances_cannot_be_read(scene):
    """The bank answers 500 from now on, and the thirteen hours that this would take are over at once."""
    scene.fault("neonomics", "balances", kind="status", code=500)
    scene.drop.sql(
        "UPDATE bank_consents SET authorised_at = now() - interval '14 hours';"
        "UPDATE bank_accounts SET balance_synced_at = now() - interval '13 hours', next_sync_at = now() - interval '1 hour'"
    )


def bank_answers_503_to_payments(scene):
    # A circuit that is open holds back the alert about payments that fail because of it; so that comes first, and still lasts then.
    scene.wait_for("PispPaymentFailures")
    failed = lambda: scene.watch.query("sum(pisp_payment_failures_total)")[0][1]
    before = failed()
    payments_are_rejected(scene)
    # As many as the alert wants. That it fires says nothing: it does so since before.
    until("payments to be known to fail again", lambda: failed() > before + 25)
    # Whatever a circuit that is open would be probed by: a payment, a look at one that is under way, or else an access token.
    for operation in ("payment", "payment_status", "token"):
        scene.fault("neonomics", operation, kind="status", code=503)
    scene.anna.pays_in_vain().expect(502, 503)
    scene.holds_back("PispCircuitOpen", "PispPaymentFailures")


# ── Ours ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def somebody_forgets_a_transaction(scene):
    query = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM jobs; SELECT pg_sleep(3600);"
    scene.drop.processes.start("forgotten", ["psql", "-X", "-c", query, scene.drop.database("postgres")])


def an_answer_of_the_bank_is_lost(scene):
    scene.fault("neonomics", "payment", kind="executeThenDrop", times=1)
    scene.anna.pays_in_vain()


def the_bank_settles_slowly(scene):
    scene.drop.sandbox("/neonomics/settings", {"progression": ["ACSP"]}, "PATCH")
    payment = scene.anna.pays("approve")
    scene.drop.sandbox("/neonomics/settings", {"progression": ["ACCP", "ACSC"]}, "PATCH")
    uuid = payment.removeprefix("tx_")
    # The database's own rules say that nobody may do this.
    scene.drop.sql(
        "BEGIN; SET LOCAL session_replication_role = replica;"
        f"UPDATE transactions SET created_at = created_at - interval '20 minutes' WHERE id = '{uuid}'; COMMIT"
    )


def an_account_is_read_six_times(scene):
    scene.drop.sql(
        "INSERT INTO balance_reads (account_id, attended, read_at, outcome)"
        " SELECT id, false, now() - n * interval '1 hour', 'read' FROM bank_accounts, generate_series(1, 6) n"
    )


def sumsub_sends_an_unknown_persons_event(scene):
    stranger = f"usr_{'0' * 31}1"
    scene.drop.sandbox("/sumsub/reviews", {"reviews": [{"externalUserId": stranger, "answer": "GREEN"}]})


def webhooks_are_answered_slowly(scene):
    """The table that each is written into is locked when it comes, for less than the API waits for a lock."""
    lock = "BEGIN; LOCK TABLE webhook_events IN EXCLUSIVE MODE; SELECT pg_sleep(1.6); COMMIT"
    is_held = "SELECT count(*) FROM pg_locks WHERE granted AND mode = 'ExclusiveLock' AND relation = 'webhook_events'::regclass"
    for _ in range(6):
        holding = subprocess.Popen(["psql", "-X", "-q", "-c", lock, scene.drop.database("postgres")], stdout=subprocess.DEVNULL)
        until("the lock", lambda: scene.drop.sql(is_held) != "0", every=0.05)
        scene.anna.is_reviewed()
        holding.wait(30)


def sumsub_does_not_decide(scene):
    person = Person.new(scene.drop).signed_in().asks_for_the_check()
    scene.drop.sandbox("/sumsub/reviews", {"reviews": [{"externalUserId": person.user, "type": "applicantPending", "answer": None}]})
    person.until("the review", "/v1/kyc", lambda _: scene.drop.sql("SELECT count(*) FROM kyc_applicants WHERE review_began_at IS NOT NULL") != "0")
    scene.drop.sql("UPDATE kyc_applicants SET review_began_at = now() - interval '2 days' WHERE review_began_at IS NOT NULL")


def the_lane_upkeep_is_paused(scene):
    """With it wait the notifications of those who are reviewed now, and the plan of balance reads."""
    scene.lane("upkeep", "pause")
    Person.new(scene.drop).signed_in().is_approved()
    scene.drop.sql(
        "UPDATE notifications SET created_at = now() - interval '2 hours' WHERE delivered_at IS NULL;"
        "UPDATE bank_accounts SET next_sync_at = now() - interval '1 hour'"
    )


def webhooks_wait(scene):
    person = Person.new(scene.drop).signed_in().asks_for_the_check()
    scene.lane("kyc.apply", "pause")
    person.is_reviewed()


def slots_of_cron_cannot_be_taken(scene):
    scene.drop.sql("REVOKE INSERT ON cron_slots FROM drop_worker")


def what_a_death_means_cannot_be_written(scene):
    scene.drop.sql("ALTER TABLE logins ADD CONSTRAINT drill CHECK (status <> 'failed') NOT VALID")
    scene.fault("bankid", "token", kind="status", code=500, times=1)
    Person(scene.drop).logs_in_without_waiting()


def the_database_is_away_from_the_api(scene):
    healthy = 'probe_success{job="drop-health"} == 1'
    until("a look at /v1/health, every five minutes", lambda: scene.watch.query(healthy), 400)
    with scene.shut_out("drop_api"):
        for _ in range(150):
            Person(scene.drop).ask("GET", "/api/auth/bankid/login")
        for alert in ("HealthCheckFails", "ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly"):
            scene.wait_for(alert)


def no_worker_serves_the_login(scene):
    with scene.stopped(scene.drop.process("worker")):
        Person(scene.drop).logs_in_without_waiting()
        scene.wait_for("JobsWaitTooLong")


def the_database_is_away_from_workers(scene):
    with scene.shut_out("drop_worker"):
        scene.wait_for("WorkerStalled")
        scene.wait_for("QueueGaugesOld")


def the_api_does_not_answer(scene):
    # Something that is high, for ten minutes: nobody is told of it while there are no metrics.
    webhook_with_a_bad_digest(scene)
    until("the webhook to be known", lambda: "SumsubWebhookFailures" in scene.watch.firing())
    second = [scene.second_api.pid] if scene.second_api else []
    with scene.stopped(scene.drop.process("api"), *second):
        scene.wait_for("DropMetricsAbsent")
        scene.holds_back("DropMetricsAbsent", "SumsubWebhookFailures")


def sumsub_was_never_given_the_new_secret(scene):
    """The second API already has it."""
    with scene.webhooks_to_the_second_api():
        Person.new(scene.drop).signed_in().is_approved()


def sentry_has_no_such_project(scene):
    """The second API reports to it, and has something to raise."""
    with scene.webhooks_to_the_second_api():
        webhook_with_a_bad_digest(scene)


def nothing_is_deleted_any_more(scene):
    """Nothing on this machine runs `drop-worker retain` or lists who was erased: not for hours, and not for somebody who was erased a
    week ago."""
    person = Person.new(scene.drop).signed_in()
    operator(scene, "users", "erase", person.user)
    scene.drop.sql(
        "UPDATE retention_runs SET ended_at = now() - interval '4 hours', listed_at = now() - interval '4 hours';"
        "UPDATE users SET erased_at = now() - interval '8 days' WHERE erased_at IS NOT NULL"
    )


# In this order: what people must do comes before what keeps them from it. Which alerts each causes.
CONTRACT = [
    (webhook_with_a_bad_digest, ["SumsubWebhookFailures"]),
    (minors_log_in, ["BankIdUnderageRejections"]),
    (payments_are_rejected, ["PispPaymentFailures"]),
    (bankid_answers_500, ["BankIdLoginErrors"]),
    (sumsub_refuses_two_of_three, ["KycApprovalRateLow"]),
    (balances_cannot_be_read, ["AispBalanceStale"]),
    (bank_answers_503_to_payments, ["PispCircuitOpen", "CircuitOpenLong"]),
]
OURS_BEFORE = [
    (nothing_is_deleted_any_more, ["RetentionLate", "ErasureStuck", "ErasedListLate"]),
    (sumsub_was_never_given_the_new_secret, ["WebhookSecretNotRotated"]),
    (sentry_has_no_such_project, ["AlertsRefused"]),
    (somebody_forgets_a_transaction, ["OldSnapshot"]),
    (an_answer_of_the_bank_is_lost, ["PaymentsNeedReview", "JobsDead"]),
    (the_bank_settles_slowly, ["PaymentsOpenTooLong"]),
    (an_account_is_read_six_times, ["BalanceReadsTooMany"]),
    (sumsub_sends_an_unknown_persons_event, ["WebhooksLeftOver"]),
    (webhooks_are_answered_slowly, ["WebhookAnswersSlow"]),
    (sumsub_does_not_decide, ["KycPendingTooLong"]),
]
OURS_AFTER = [
    (the_lane_upkeep_is_paused, ["UpkeepStandsStill", "BalanceReadsLate", "NotificationsNotDelivered"]),
    (webhooks_wait, ["WebhooksNotApplied"]),
    (what_a_death_means_cannot_be_written, ["JobsUntold"]),
    (slots_of_cron_cannot_be_taken, ["CronLate"]),
    (the_database_is_away_from_the_api, ["HealthCheckFails", "ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly"]),
]
# These blind others, so they wait until all others have arrived.
LAST = [
    (no_worker_serves_the_login, ["JobsWaitTooLong"]),
    (the_database_is_away_from_workers, ["WorkerStalled", "QueueGaugesOld"]),
    (the_api_does_not_answer, ["DropMetricsAbsent"]),
]
# ── What the runbooks say to do ──────────────────────────────────────────────────────────────────────────────────────
def operator(scene, *arguments):
    """A command that changes something."""
    said = scene.drop.operator([*arguments, "--operator", "drill", "--reason", "drill"])
    assert said.returncode == 0, f"{arguments}: {said.stderr}"


def the_providers_are_well_again(scene):
    for provider in ("bankid", "neonomics", "sumsub"):
        scene.well_again(provider)


def the_cause_of_untold_deaths_is_mended(scene):
    scene.drop.sql("ALTER TABLE logins DROP CONSTRAINT drill")
    # Within a minute they are merely dead.
    until("deaths to be told", lambda: scene.drop.sql("SELECT count(*) FROM jobs WHERE untold IS NOT NULL") == "0", 150)


def dead_jobs_are_discarded(scene):
    operator(scene, "jobs", "discard", *scene.drop.sql("SELECT id FROM jobs WHERE state = 'dead'").split())


def the_bank_is_asked_about_payments_in_doubt(scene):
    """It has the one whose answer was lost, and has not ended it: it is tracked; then the bank settles it. It never had one that it refused."""
    in_review = "SELECT 'tx_' || replace(id::text, '-', ''), idempotency_key FROM transactions WHERE needs_review"
    payments = scene.drop.sandbox("/neonomics/payments")
    theirs = {known["requestId"]: known["id"] for known in payments}
    doubtful = [line.split() for line in scene.drop.sql(in_review, separator=" ").splitlines()]
    for payment, key in doubtful:
        if key in theirs:
            operator(scene, "payments", "track", payment, "--payment-id", theirs[key])
        else:
            operator(scene, "payments", "settle", payment, "--never-arrived")
    tracked = {theirs[key] for _, key in doubtful if key in theirs}
    for known in payments:
        if known["id"] in tracked or known["status"] == "ACSP":
            scene.drop.sandbox(f"/neonomics/payments/{known['id']}", {"status": "ACSC"})


def lanes_go_on(scene):
    operator(scene, "lanes", "resume", "upkeep")
    operator(scene, "lanes", "resume", "kyc.apply")


def the_owner_opens_the_app(scene):
    scene.anna.signed_in()
    refresh = f"/v1/bank-accounts/{scene.anna.account}/balance/refresh"
    # The circuit closes within a minute of the bank's being well.
    until("a fresh balance", lambda: scene.anna.ask("POST", refresh).body.get("stale") is False, 150, every=5)


def strangers_events_are_dismissed(scene):
    operator(scene, "webhooks", "dismiss", scene.drop.sql(IDS["<evt_…>"]))


def the_forgotten_session_is_ended(scene):
    scene.drop.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3600)%' AND pid <> pg_backend_pid()")


def the_grant_is_given_back(scene):
    scene.drop.sql("GRANT INSERT ON cron_slots TO drop_worker")


def sumsub_decides(scene):
    for person in scene.drop.sql("SELECT 'usr_' || replace(user_id::text, '-', '') FROM kyc_applicants WHERE review_began_at IS NOT NULL").split():
        scene.drop.sandbox("/sumsub/reviews", {"reviews": [{"externalUserId": person, "answer": "GREEN"}]})


def retention_and_the_list_run_again(scene):
    for command, role in [(["retain"], "drop_retention"), (["users", "erased", "--days", "35", "--json", "--note"], "drop_worker")]:
        said = scene.drop.operator(command, role)
        assert said.returncode == 0, said.stderr


# In this order. Which alerts are over then.
MENDS = [
    (the_providers_are_well_again, ["PispCircuitOpen", "CircuitOpenLong", "AispBalanceStale"]),
    (the_cause_of_untold_deaths_is_mended, ["JobsUntold"]),
    (dead_jobs_are_discarded, ["JobsDead"]),
    (the_bank_is_asked_about_payments_in_doubt, ["PaymentsNeedReview", "PaymentsOpenTooLong"]),
    (lanes_go_on, ["UpkeepStandsStill", "NotificationsNotDelivered", "WebhooksNotApplied", "BalanceReadsLate"]),
    (the_owner_opens_the_app, ["AispBalanceStale"]),
    (sumsub_decides, ["KycPendingTooLong"]),
    (strangers_events_are_dismissed, ["WebhooksLeftOver"]),
    (the_forgotten_session_is_ended, ["OldSnapshot"]),
    (the_grant_is_given_back, ["CronLate"]),
    (retention_and_the_list_run_again, ["RetentionLate", "ErasureStuck", "ErasedListLate"]),
]
# By the second worker, from the start.
CERTIFICATE = "CertificateExpires"


def expiring_certificate(folder: pathlib.Path):
    """The variables of a worker whose client certificate ends in ten days."""
    key, certificate = folder / "client.key", folder / "client.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "10", "-subj", "/CN=drill",
         "-keyout", key, "-out", certificate], check=True, capture_output=True,
    )
    return {"NEONOMICS_CLIENT_CERT_FILE": str(certificate), "NEONOMICS_CLIENT_KEY_FILE": str(key)}
