"""python3 ops/drill/pages.py: how long the operators' pages take beside a million jobs and a million payments.

Fills the database of a system of its own: of the jobs most are done, 60,000 wait and 20,000 are dead, of five errors; of the payments
5,000 are under way and 300 wait for a person; with their audit rows, attempts and notices, and 200,000 events in the inbox. Then every
page is asked for, one after the other, as somebody does who is signed in. Fails where half of the answers to one page, or all but one
in a hundred, take more than 200 ms to their first byte.
"""
import hashlib
import http.client
import os
import re
import statistics
import sys
import time
import urllib.parse

from system import drop_alone, free_port, until

MANY, DEAD, WAITING, UNDER_WAY, TO_REVIEW, PEOPLE, EVENTS = 1_000_000, 20_000, 60_000, 5_000, 300, 1_000, 200_000
REQUESTS, LIMIT_MS = 100, 200
TOKEN = "a-token-for-this-drill-alone"

# An id that sorts by its time, as the service makes them.
ID = "(lpad(to_hex((extract(epoch FROM {at}) * 1000)::bigint), 12, '0') || '7' || substr(md5({salt}), 1, 3) || '8' || substr(md5({salt}), 4, 15))::uuid"
PAYMENT = ID.format(at="at", salt="'p' || n")
AT = "now() - (%d - n) * interval '1 s'" % MANY

# The rules of rows are checked where rows are made by the service; here they would take an hour.
FILL = f"""
SET session_replication_role = replica;
SET synchronous_commit = off;
UPDATE lanes SET paused = true WHERE name IN ('balance.batch', 'payment.poll', 'payment.send');
INSERT INTO users (id, national_id_hash, first_name, last_name)
SELECT md5('u' || n)::uuid, encode(sha256(n::text::bytea), 'hex'), 'F', 'L' FROM generate_series(1, {PEOPLE}) n;
INSERT INTO jobs (kind, lane, payload, max_attempts, attempt, state, run_at, finished_at, last_error, request_id, created_at)
SELECT CASE WHEN n % 3 = 0 THEN 'poll-payment' ELSE 'sync-balance' END, CASE WHEN n % 3 = 0 THEN 3 ELSE 5 END,
       CASE WHEN n % 3 = 0 THEN jsonb_build_object('payment', {PAYMENT}) ELSE jsonb_build_object('account', md5('a' || n)::uuid) END, 5,
       CASE state WHEN 'ready' THEN 0 ELSE 5 END, state, CASE state WHEN 'ready' THEN now() + (n % 2) * interval '1 day' ELSE at END,
       CASE state WHEN 'ready' THEN NULL ELSE at END,
       CASE state WHEN 'dead' THEN (ARRAY['the bank answered 503 to a read of ' || md5(n::text), 'the bank answered 500',
         'timed out after ' || n || ' ms while asking the bank for the status of a payment that it said was on its way',
         'the lease ended', NULL])[1 + n / 50 % 5] END,
       md5('r' || n)::uuid, at
  FROM (SELECT n, {AT} AS at, CASE WHEN n % {MANY // DEAD} = 0 THEN 'dead' WHEN n > {MANY - WAITING} THEN 'ready' ELSE 'done' END AS state
          FROM generate_series(1, {MANY}) n) j;
INSERT INTO job_attempts (job_id, attempt, owner, result, started_at, ended_at, error)
SELECT id, a, gen_random_uuid(), CASE a WHEN 5 THEN 'dead' ELSE 'again' END, created_at, created_at, last_error
  FROM jobs, generate_series(1, 5) a WHERE state = 'dead';
INSERT INTO transactions (id, user_id, account_id, client_key, idempotency_key, fingerprint, amount, currency, creditor_name, creditor_scheme,
                          creditor_account_sealed, creditor_account_index, creditor_account_masked, remittance_information, product,
                          status, bank_status, bank_final, needs_review, payment_id, callback_state_hash, created_at, updated_at, expires_at)
SELECT {PAYMENT}, md5('u' || (1 + n % {PEOPLE}))::uuid, md5('a' || n)::uuid, n::text, md5('x' || n)::uuid, sha256(n::text::bytea), 100, 'NOK',
       'N', 'bban', '\\x00', sha256(n::text::bytea), '•', '', 'domestic',
       CASE WHEN is_over THEN 'completed' ELSE 'processing' END, CASE WHEN is_over THEN 'ACSC' ELSE 'RCVD' END, is_over,
       n % {MANY // TO_REVIEW} = 0, 'bank-' || n, sha256(n::text::bytea), at, at, at + interval '1 day'
  FROM (SELECT n, {AT} AS at, n <= {MANY - UNDER_WAY} AND n % {MANY // TO_REVIEW} <> 0 AS is_over FROM generate_series(1, {MANY}) n) t;
INSERT INTO payment_attempts (transaction_id, job_attempt, body_hash, outcome, http_status, sent_at, finished_at)
SELECT id, 1, fingerprint, 'accepted', 201, created_at, created_at FROM transactions;
INSERT INTO audit_log (at, actor, user_id, action, object)
SELECT created_at, 'user', user_id, 'payment.requested', 'tx_' || replace(id::text, '-', '') FROM transactions;
INSERT INTO audit_log (at, actor, action, object, detail)
SELECT created_at, 'operator', 'job.retried', 'job_' || id, jsonb_build_object('operator', 'kari', 'reason', 'ticket', 'before', state)
  FROM jobs WHERE state = 'dead';
INSERT INTO notifications (id, user_id, kind, title, body, subject, created_at, delivered_at)
SELECT md5('n' || id)::uuid, user_id, 'payment.completed', '', '', 'tx_' || replace(id::text, '-', '') || ':completed', created_at, created_at
  FROM transactions WHERE user_id IN (SELECT md5('u' || n)::uuid FROM generate_series(1, 100) n);
INSERT INTO webhook_events (id, provider, event_key, event_type, raw, state, received_at, applied_at, note)
SELECT {ID.format(at="at", salt="'e' || n")}, 'sumsub', n::text, 'applicantReviewed', '{{}}',
       CASE WHEN is_over THEN 'applied' ELSE 'quarantined' END, at, CASE WHEN is_over THEN at END, CASE WHEN is_over THEN NULL ELSE 'no applicant' END
  FROM (SELECT n, now() - ({EVENTS} - n) * interval '1 s' AS at, n % 500 <> 0 AS is_over FROM generate_series(1, {EVENTS}) n) e;
INSERT INTO logins (id, state_hash, channel, created_at, expires_at) VALUES (md5('l')::uuid, sha256('l'), 'web', now(), now() + interval '1 day');
ANALYZE;
"""


class Visitor:
    """Somebody who is signed in, on one connection."""

    def __init__(self, url):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=60)
        form = urllib.parse.urlencode({"token": TOKEN})
        self.connection.request("POST", "/operator/sign-in", form, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = self.connection.getresponse()
        answer.read()
        assert answer.status == 303, answer.status
        self.cookie = answer.headers["Set-Cookie"].split(";")[0]

    def asks(self, path):
        """Milliseconds to the first byte, and the page."""
        began = time.perf_counter()
        self.connection.request("GET", path, headers={"Cookie": self.cookie})
        answer = self.connection.getresponse()
        took = (time.perf_counter() - began) * 1000
        page = answer.read().decode()
        assert answer.status in (200, 303), f"{path}: {answer.status}"
        return took, page


def pages(drop, visitor):
    """Every page, by a name for it."""
    one = lambda query: drop.sql(query)
    tx = "'tx_' || replace(id::text, '-', '')"
    payment = one(f"SELECT {tx} FROM transactions WHERE client_key = '{MANY // 2}'")
    to_review = one(f"SELECT {tx} FROM transactions WHERE needs_review ORDER BY created_at LIMIT 1 OFFSET 100")
    dead = one("SELECT id FROM jobs WHERE state = 'dead' ORDER BY id LIMIT 1 OFFSET 10000")
    person = one("SELECT 'usr_' || md5('u5')")
    groups = visitor.asks("/operator/jobs/dead")[1]
    group = re.search(r'href="(/operator/jobs\?[^"]*died_of=[^"]+)"', groups)[1].replace("&amp;", "&")
    jobs = "/operator/jobs"
    return {
        "overview": "/operator",
        "jobs": jobs,
        **{f"jobs, {state}": f"{jobs}?state={state}" for state in ("ready", "running", "done", "dead", "untold")},
        "jobs of a lane": f"{jobs}?lane=payment.poll",
        "jobs of a kind that is rare": f"{jobs}?kind=prune-jobs",
        "jobs from the middle on": f"{jobs}?before={MANY // 2}",
        "by error, most of the dead": f"{jobs}?state=dead&error=bank",
        "by error, any state": f"{jobs}?error=bank",
        "by error, none has it": f"{jobs}?state=dead&error=nothing+of+that+kind",
        "dead by error": f"{jobs}/dead",
        "dead of one group": group,
        "a job": f"{jobs}/{dead}",
        "payments": "/operator/payments",
        "older payments": f"/operator/payments?before={payment}",
        "more payments to review": f"/operator/payments?waits_after={to_review}",
        "a payment's story": f"/operator/payments/{payment}",
        "a payment to review": f"/operator/payments/{to_review}",
        "a login": f"/operator/logins/lgn_{hashlib.md5(b'l').hexdigest()}",
        "lanes": "/operator/lanes",
        "workers": "/operator/workers",
        "circuits": "/operator/breakers",
        "cron": "/operator/cron",
        "webhooks": "/operator/webhooks",
        "webhooks left over": "/operator/webhooks?state=quarantined",
        "webhooks unmatched, none": "/operator/webhooks?state=unmatched",
        "webhooks of a type that none has": "/operator/webhooks?type=nothing",
        "an event": "/operator/webhooks/" + one("SELECT 'evt_' || replace(id::text, '-', '') FROM webhook_events WHERE state = 'quarantined' LIMIT 1"),
        "a person": f"/operator/people/{person}",
        "audit": "/operator/audit",
        "older audit": f"/operator/audit?before={MANY + DEAD // 2}",
        "find by the bank's id": f"/operator/find?q=bank-{MANY // 2}",
        "find by request": "/operator/find?q=" + one(f"SELECT md5('r' || {MANY // 2})::uuid"),
        "find what is not there": "/operator/find?q=nothing-of-this-name",
    }


def measured(visitor, path):
    times = sorted(visitor.asks(path)[0] for _ in range(REQUESTS))
    return statistics.median(times), times[int(len(times) * 0.99) - 1]


def main():
    with drop_alone(__doc__, "drop-pages-") as drop:
        began = time.monotonic()
        drop.sql(FILL)
        print(f"filled in {time.monotonic() - began:.0f} s")
        port = free_port()
        token = f"kari:operator:{hashlib.sha256(TOKEN.encode()).hexdigest()}"
        drop.second_worker("upkeep", port, DROP_OPERATOR_TOKENS=token)
        url = f"http://127.0.0.1:{port}"
        visitor = until("the page to be there", lambda: signed_in(url))
        until("the overview to show the jobs", lambda: "Nothing was read" not in visitor.asks("/operator")[1])
        print(f"{REQUESTS} times each (load of this machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)")
        well = True
        for name, path in pages(drop, visitor).items():
            visitor.asks(path)  # what is read for the first time comes from the disk
            median, p99 = measured(visitor, path)
            slow = max(median, p99) >= LIMIT_MS
            well = well and not slow
            print(f"  {name:<33}median {median:6.1f} ms, p99 {p99:6.1f} ms{'  too slow' if slow else ''}", flush=True)
    sys.exit(0 if well else 1)


def signed_in(url):
    try:
        return Visitor(url)
    except OSError:
        return None


if __name__ == "__main__":
    main()
