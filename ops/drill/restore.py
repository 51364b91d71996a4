"""python3 ops/drill/restore.py: loses a database under people who pay and log in, and restores it as ops/restore.md says.

Starts a PostgreSQL server with an archive, the simulated providers, the API and a worker. Somebody destroys rows; the server is
stopped and restored to the moment before, by the commands of the guide as they stand there. `kubectl` is played: what it would
stop and start is stopped and started. Then the bank's list is compared with the database: nothing that people paid is lost, and
nothing paid twice, and nobody was refused outside the time that operations had announced. Seven minutes, of which the guide
waits five. Needs a Rust toolchain, PostgreSQL's programs and openssl.
"""
import argparse
import collections
import datetime
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

from guide import Guide
from load import Load
from people import Person
from server import Server
from system import Processes, fetch, free_port, need, programs, until

PAYERS = 3
# How long people go on before and after the moment that is restored, and at the end.
BEFORE_S, AFTER_S, AT_THE_END_S = 15, 15, 15
# `restored open` refuses before that: the bank may still be at what was sent last.
BANK_IS_DONE_S = 300


class Service:
    """The providers, the API and a worker at one database; the last two can be stopped and started."""

    def __init__(self, processes, programs, server):
        self.processes, self.programs, self.server = processes, programs, server
        ports = {name: free_port() for name in ("api", "api_internal", "worker_internal", "sandbox")}
        at = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        self.api, self.control, self.at, self.running, self.suspended = at["api"], at["sandbox"] + "/control", at, {}, False
        listen = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        key = subprocess.run("openssl genpkey -algorithm ed25519 -outform DER | base64 -w0", shell=True, capture_output=True, text=True, check=True)
        secret = lambda: subprocess.run(["openssl", "rand", "-base64", "32"], capture_output=True, text=True, check=True).stdout.strip()
        self.env = {
            "PATH": os.environ["PATH"], "DROP_PROFILE": "local", "DROP_PUBLIC_URL": at["api"],
            "DROP_API_LISTEN": listen["api"], "DROP_API_INTERNAL_LISTEN": listen["api_internal"],
            "DROP_WORKER_INTERNAL_LISTEN": listen["worker_internal"], "DROP_SANDBOX_LISTEN": listen["sandbox"],
            "DROP_SESSION_KEY": key.stdout, "DROP_ENCRYPTION_KEY": secret(),
            "BANKID_MOCK": "true", "BANKID_ISSUER": at["sandbox"] + "/bankid", "BANKID_CLIENT_ID": "drill",
            "BANKID_CLIENT_SECRET": secret(), "BANKID_REDIRECT_URI": at["api"] + "/api/auth/bankid/callback", "BANKID_SYNTHETIC_IDS": "tenor",
            "NEONOMICS_BASE_URL": at["sandbox"] + "/neonomics", "NEONOMICS_TOKEN_URL": at["sandbox"] + "/neonomics/auth/token",
            "NEONOMICS_CLIENT_ID": "drill", "NEONOMICS_CLIENT_SECRET": secret(),
            "SUMSUB_BASE_URL": at["sandbox"] + "/sumsub", "SUMSUB_APP_TOKEN": secret(), "SUMSUB_SECRET_KEY": secret(),
        }
        self.start("sandbox", at["sandbox"] + "/bankid/.well-known/openid-configuration")

    def start(self, part, ready):
        env = self.env | {"DATABASE_URL": self.server.address(f"drop_{part}")}
        self.running[part] = self.processes.start(f"{part}-{len(self.processes.running)}", [self.programs / "drop-local", part], env,
                                                  stdin=subprocess.PIPE)
        until(f"{part} to be ready", lambda: answers(ready))

    def start_api(self):
        self.start("api", self.at["api_internal"] + "/readyz")

    def start_worker(self):
        self.start("worker", self.at["worker_internal"] + "/readyz")

    def tell_to_end(self, part):
        self.running[part].send_signal(signal.SIGTERM)

    def wait_for_the_end(self):
        for part in ("api", "worker"):
            assert self.running[part].wait(60) == 0, f"{part} did not end in order"

    def operator(self, arguments, role="drop_worker", stdin=None, cwd=None):
        """`drop-worker` with these arguments, as in a worker's pod. What it printed."""
        env = {name: self.env[name] for name in ("PATH", "DROP_PROFILE")} | {"DATABASE_URL": self.server.address(role)}
        ran = subprocess.run([self.programs / "drop-worker", *arguments], env=env, stdin=stdin, cwd=cwd, capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, f"drop-worker {shlex.join(arguments)}: {ran.stderr.strip()}"
        return ran.stdout

    def sandbox(self, path, body=None, method=None):
        return fetch(self.control + path, body, method)

    def sql(self, statements):
        return self.server.sql(statements)


def answers(url):
    """Whether it says 200."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


class Exercise:
    """What is done, step by step, and how long it took."""

    def __init__(self, service, folder):
        self.service, self.folder, self.steps, self.began = service, folder, [], time.monotonic()
        self.guide = None

    def say(self, text):
        print(f"{time.monotonic() - self.began:6.0f} s  {text}", flush=True)

    def step(self, name, beginning, **more):
        """Does one block of the guide."""
        started = time.monotonic()
        for line in self.guide.block(beginning):
            self.say(f"$ {line}")
            self.command(line.split("  #")[0].strip(), **more)
        self.steps.append((name, time.monotonic() - started))

    def command(self, line, role="drop_worker", into=None):
        if line.startswith("newest="):
            return None  # the list of the last hour is in its place already
        if line.startswith("kubectl "):
            return self.kubectl(shlex.split(line)[1:])
        if line.startswith("drop-worker "):
            words, _, read = line.partition("<")
            with open(self.folder / (read.strip() or "empty")) as stdin:
                said = self.service.operator(shlex.split(words)[1:], "drop_migrate" if words.split()[1] == "migrate" else role, stdin, self.folder)
            if into:
                into.write_text(said)
            else:
                print(said, end="")
            return None
        return self.service.server.run(line)

    def kubectl(self, arguments):
        """What the cluster would do."""
        match [argument for argument in arguments if argument not in ("-n", "drop", "--all", "--overwrite")]:
            case ["annotate", "scaledobject", "autoscaling.keda.sh/paused-replicas=0"]:
                self.service.tell_to_end("worker")
            case ["annotate", "scaledobject", "autoscaling.keda.sh/paused-replicas-"]:
                self.service.start_worker()
            case ["scale", "deployment/drop-api", "--replicas=0"]:
                self.service.tell_to_end("api")
            case ["scale", "deployment/drop-api", _]:
                self.service.start_api()
            case ["logs", "$newest", *_] | ["patch", "cronjob/drop-erased", *_]:
                pass
            case ["patch", "cronjob/drop-retain", "--patch", patch]:
                if not json.loads(patch)["spec"]["suspend"]:
                    self.service.operator(["retain"], "drop_retention")
            case ["wait", "--for=delete", "pod", *_]:
                self.service.wait_for_the_end()
            case ["rollout", "status", "deployment/drop-worker-interactive"]:
                until("the worker", lambda: answers(self.service.at["worker_internal"] + "/readyz"))
            case unknown:
                raise SystemExit(f"the guide asks for what nobody plays here: kubectl {shlex.join(unknown)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--built", metavar="FOLDER", help="where drop-local and drop-worker were built before")
    arguments = parser.parse_args()
    need("psql", "openssl")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder_of_programs = programs(arguments.built)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="drop-restore-"))
    # The server's account passes through.
    folder.chmod(0o755)
    (folder / "empty").touch()
    processes, server = Processes(folder), None
    try:
        settings = Guide("restore.md", {"/backup/": f"{folder}/server/backup/"}).block("archive_mode")
        (folder / "server").mkdir()
        server = Server(folder / "server", settings)
        well = exercise(Service(processes, folder_of_programs, server), folder)
    finally:
        processes.end()
        if server:
            server.end()
    if well:
        shutil.rmtree(folder)
    else:
        print(f"what the processes said is in {folder}")
    sys.exit(0 if well else 1)


def exercise(service, folder):
    server, exercise = service.server, Exercise(service, folder)
    service.operator(["migrate"], "drop_migrate")
    service.start_worker()
    service.start_api()
    # Nothing but our own care keeps this bank from executing an order twice.
    service.sandbox("/neonomics/settings", {"deduplicate": False, "progression": ["ACSC"]}, "PATCH")
    words = {"/backup/": f"{server.backup}/", "<you>": "drill", "<ticket>": "DRILL-1", "<newest list>": "erased.json"}
    exercise.guide = Guide("restore.md", words)

    to_be_erased, to_be_refused = Person.new(service).signed_in(), Person.new(service).signed_in().is_approved()
    load = Load(service, PAYERS)
    exercise.step("base backup", "pg_basebackup")
    time.sleep(BEFORE_S)
    # So that at T some orders have not left yet.
    service.operator(["lanes", "pause", "payment.send", "--until-resumed", "--operator", "drill", "--reason", "drill"])
    time.sleep(4)
    notified = int(service.sql("SELECT count(*) FROM notifications"))
    moment = datetime.datetime.fromtimestamp(float(service.sql("SELECT extract(epoch FROM clock_timestamp())")), datetime.UTC)
    at_moment, known = time.monotonic(), len(service.sandbox("/sumsub/webhooks"))
    exercise.say(f"T is {moment}")
    service.operator(["lanes", "resume", "payment.send", "--operator", "drill", "--reason", "drill"])

    # What will be forgotten: payments, logins, an erasure, and that somebody was refused.
    service.operator(["users", "erase", to_be_erased.user, "--operator", "drill", "--reason", "drill"])
    to_be_refused.is_reviewed("RED", reviewRejectType="FINAL", rejectLabels=["FORGERY"])
    to_be_refused.until("the refusal", "/v1/kyc", lambda answer: answer.body.get("status") == "rejected")
    # As every hour.
    exercise.command("drop-worker users erased --days 35 --json", into=folder / "erased.json")
    time.sleep(AFTER_S)
    service.sql("DELETE FROM notifications")
    exercise.say("somebody has destroyed rows")

    stopped = time.monotonic()
    exercise.guide.words |= {
        "2026-03-01T12:00:00Z": moment.isoformat(), "2026-03-01 12:00:00+00": f"{moment:%F %T.%f}+00", "base-2026-03-01": f"base-{datetime.date.today()}",
    }
    exercise.step("1 stop everything", "paused-replicas=0")
    closed = time.monotonic()
    server.is_lost()
    exercise.guide.words["<old data folder>"] = str(server.data)
    server.next_data_folder()
    exercise.step("2 restore", "recovery_target_time")
    until("the recovery to end", lambda: service.sql("SELECT pg_is_in_recovery()") == "f")
    exercise.step("3 migrate, close", "restored close")
    told = time.monotonic()
    exercise.step("3 erase again", "users erase-again")
    exercise.step("4 pause balances", "lanes pause balance.batch")
    exercise.step("5 start", "paused-replicas-")
    logins_work = until("a login", lambda: next((at for at in load.logins if at > closed), None))
    started = time.monotonic()
    for webhook in service.sandbox("/sumsub/webhooks")[known:]:
        service.sandbox(f"/sumsub/webhooks/{webhook['number']}/resend", {})
    until("what Sumsub sent again to be applied", lambda: service.sql("SELECT count(*) FROM webhook_events WHERE state = 'received'") == "0")
    exercise.steps.append(("6 Sumsub sends again", time.monotonic() - started))

    left = max(0.0, told + BANK_IS_DONE_S - time.monotonic())
    exercise.say(f"the bank may still be at what was sent last: {left:.0f} s")
    time.sleep(left)
    orders = orders_since(service)
    (folder / "orders").write_text("".join(line_of(order, exercise.guide) + "\n" for order in orders))
    exercise.step("7 open", "restored open")
    opened = time.monotonic()
    look_at_each(exercise, orders)
    payments_work = until("a payment", lambda: next((p.taken_at for p in load.payments if p.taken_at and p.taken_at > opened), None))
    exercise.step("8 retain", '"suspend":false')
    # A day later.
    resume = 'drop-worker lanes resume balance.batch --operator <you> --reason "<ticket>"'
    assert resume in exercise.guide.text, resume
    exercise.command(resume.replace("<you>", "drill").replace("<ticket>", "DRILL-1"))
    time.sleep(AT_THE_END_S)
    load.ends()
    well = judged(exercise, load, notified, (at_moment, stopped, opened), (to_be_erased, to_be_refused))
    print("\nhow long it took")
    for name, took in exercise.steps:
        print(f"  {name:<22}{took:7.1f} s")
    print(f"  from the stop until logins work   {logins_work - stopped:7.1f} s (promised: 1 h)")
    print(f"  from the stop until payments work {payments_work - stopped:7.1f} s (promised: 2 h), of which {BANK_IS_DONE_S} s waiting for the bank")
    return well


def line_of(order, guide):
    """What the bank says of an order, in as many words as the guide asks for."""
    said = [order["requestId"], order["id"]]
    if "amount, currency" in guide.text:
        asked = order["order"]
        said += [asked["instructedAmount"]["amount"], asked["instructedAmount"]["currency"], *list(asked["creditorAccount"].values())[:1]]
    return " ".join(said)


def orders_since(service):
    """What the bank has since the time that `close` said, to the second."""
    since = service.sql("SELECT detail #>> '{found,orders_since}' FROM audit_log WHERE action = 'restored.closed' ORDER BY id DESC LIMIT 1")[:19]
    assert since, "`close` did not say since when the bank is to be asked"
    return [order for order in service.sandbox("/neonomics/payments") if order["at"][:19] >= since]


def look_at_each(exercise, orders):
    """What `payments list` shows is on the bank's list, or it is not."""
    exercise.command("drop-worker payments list")
    theirs, started = {order["requestId"]: order["id"] for order in orders}, time.monotonic()
    for payment in json.loads(exercise.service.operator(["payments", "list", "--json"])):
        at_bank = theirs.get(payment["request_id"])
        by = '--operator drill --reason "DRILL-1"'
        if at_bank:
            assert exercise.guide.has("payments track"), f"{payment['id']} is on the bank's list, and `open` did not track it"
            line = f"drop-worker payments track {payment['id']} --payment-id {at_bank} {by}"
        else:
            line = f"drop-worker payments settle {payment['id']} --never-arrived {by}"
        exercise.say(f"$ {line}")
        exercise.command(line)
    exercise.steps.append(("7 look at each", time.monotonic() - started))


def judged(exercise, load, notified, times, people):
    """Whether everything is as it should be; says what is not."""
    service, (at_moment, stopped, opened), (erased, refused) = exercise.service, times, people
    wrong, payments = [], load.payments
    executed, orders = collections.Counter(), collections.Counter()
    for order in service.sandbox("/neonomics/payments"):
        orders[order["minor"]] += 1
        executed[order["minor"]] += order["moved"]
    rows = collections.defaultdict(list)
    for row in service.sql("SELECT client_key, status FROM transactions").splitlines():
        key, status = row.split("|")
        rows[key].append(status)
    for payment in payments:
        name, minor, kept = f"{payment.id} ({payment.key})", payment.minor, rows[payment.key]
        if kept != [payment.status]:
            wrong.append(f"{name}: its person sees {payment.status}, the database has {kept}")
        if orders[minor] > 1:
            wrong.append(f"{name}: ordered {orders[minor]} times, executed {executed[minor]} times")
        if executed[minor] and payment.status != "completed":
            wrong.append(f"{name}: executed, and {payment.status}")
        if payment.status == "completed" and not executed[minor]:
            wrong.append(f"{name}: completed, and not executed")
    if len(rows) != len(payments) or sum(orders.values()) > len(payments):
        wrong.append(f"{len(payments)} payments, {len(rows)} in the database, {sum(orders.values())} at the bank")
    outside = [failure for failure in load.failures if not stopped <= failure[0] <= opened]
    wrong += [f"refused outside the announced time, at {at - exercise.began:.1f} s: {what}: {answer}" for at, what, answer in outside]
    if int(service.sql("SELECT count(*) FROM notifications")) < notified:
        wrong.append("what was destroyed is not there again")
    if service.sql(f"SELECT erased_at IS NOT NULL FROM users WHERE replace(id::text, '-', '') = '{erased.user.removeprefix('usr_')}'") != "t":
        wrong.append("somebody who was erased is known again")
    if refused.signed_in().ask("GET", "/v1/kyc").body.get("status") != "rejected":
        wrong.append("somebody who was refused may pay again")
    # Done before the server started; a managed server's; one by one above.
    elsewhere = ("archive_mode", "aws rds", "drop-worker users erased", "drop-worker payments track")
    wrong += [f"a block of the guide that was not done: {block}" for block in exercise.guide.never_done() if not block.lstrip().startswith(elsewhere)]
    before = sum(payment.taken_at < at_moment for payment in payments)
    between = sum(at_moment <= payment.taken_at < stopped for payment in payments)
    forgotten = sum(payment.forgotten > 0 for payment in payments)
    if not (before and between and forgotten and load.logins):
        wrong.append("too little happened")
    statuses = collections.Counter(payment.status for payment in payments)
    print(f"\n{len(payments)} payments: {before} before T, {between} forgotten by the restore ({forgotten} asked for again), "
          f"{len(payments) - before - between} later; {dict(statuses)}; {sum(executed.values())} executed by the bank")
    print(f"{len(load.logins)} logins; {len(load.failures)} refusals while closed ({opened - stopped:.0f} s), {len(outside)} at other times")
    print("\n".join(wrong) or "nothing was lost, nothing paid twice")
    return not wrong


if __name__ == "__main__":
    main()
