"""People who pay and log in all the time, go on when they are refused, and remember everything that they were told."""
import dataclasses
import http.client
import threading
import time
import urllib.error
import uuid

from people import Person

PACE_S = 1.5
# A person gives up on the whole drill after that.
PATIENCE_S = 1200
WENT_WRONG = (OSError, http.client.HTTPException, AssertionError, TimeoutError, KeyError)


@dataclasses.dataclass
class Payment:
    """An order as its person sees it: by its Idempotency-Key."""

    order: dict
    key: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    id: str | None = None
    # When the API took it on for the first time.
    taken_at: float | None = None
    approved: bool = False
    status: str | None = None
    # How often it was not known any more, and was asked for again.
    forgotten: int = 0

    @property
    def minor(self):
        return int(self.order["instructedAmount"]["amount"].replace(".", ""))


class Load:
    """All of them."""

    def __init__(self, service, payers):
        self.service, self.over = service, threading.Event()
        # When, what, and what was answered.
        self.failures, self.logins = [], []
        self.payers = [Payer(self, Person.new(service).signed_in().is_approved().links_a_bank()) for _ in range(payers)]
        self.threads = [threading.Thread(target=payer.pays_on_and_on, daemon=True) for payer in self.payers]
        self.threads.append(threading.Thread(target=self._logs_in_on_and_on, daemon=True))
        for thread in self.threads:
            thread.start()

    def failed(self, what, answer):
        self.failures.append((time.monotonic(), what, answer))

    def _logs_in_on_and_on(self):
        while not self.over.wait(PACE_S):
            try:
                Person(self.service, "marko").logs_in().expect(200)
                self.logins.append(time.monotonic())
            except WENT_WRONG as error:
                self.failed("login", str(error) or type(error).__name__)

    @property
    def payments(self):
        return [payment for payer in self.payers for payment in payer.payments]

    def ends(self):
        """Nobody begins anything any more, and each payment comes to its end."""
        self.over.set()
        for thread in self.threads:
            thread.join(PATIENCE_S)
        for payer in self.payers:
            for payment in payer.payments:
                payer.sees_the_end_of(payment)


class Payer:
    def __init__(self, load, person):
        self.load, self.person, self.payments = load, person, []

    def pays_on_and_on(self):
        while not self.load.over.wait(PACE_S):
            payment = Payment(self.person.order())
            self.payments.append(payment)
            self.asks_for(payment)
            self.approves(payment)

    def asked(self, what, method, path, body=None, **headers):
        """The answer, after as many refusals as there are; whoever is signed out signs in again."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                answer = self.person.ask(method, path, body, **headers)
                if answer.status == 401:
                    self.person.signed_in()
                elif answer.status < 400 or answer.status == 404:
                    return answer
                else:
                    self.load.failed(what, f"{answer.status} {answer.body.get('code')}")
                    time.sleep(1)
            except WENT_WRONG as error:
                self.load.failed(what, str(error) or type(error).__name__)
                time.sleep(1)
        raise SystemExit(f"{what} was refused for {PATIENCE_S} s")

    def asks_for(self, payment):
        """The same request each time, under the same key."""
        answer = self.asked("pay", "POST", "/v1/transactions", payment.order, Idempotency_Key=payment.key)
        payment.id = answer.body["id"]
        payment.taken_at = payment.taken_at or time.monotonic()

    def sees(self, payment):
        """The payment as it is shown; one that is not known any more is asked for again."""
        while True:
            answer = self.asked("look", "GET", f"/v1/transactions/{payment.id}")
            if answer.status != 404:
                payment.status = answer.body["status"]
                return answer.body
            payment.forgotten += 1
            self.asks_for(payment)

    def approves(self, payment):
        while not payment.approved:
            shown = self.sees(payment)
            if shown["status"] != "processing":
                return
            if not shown.get("scaRedirect"):
                # After a restore there is no page any more for what the bank has already.
                if payment.forgotten:
                    return
                time.sleep(0.3)
                continue
            try:
                back = self.load.service.sandbox("/bank/decisions", {"at": shown["scaRedirect"], "decision": "approve"})["redirect"]
            except urllib.error.HTTPError:
                return  # the bank's page has had its time
            payment.approved = True
            try:
                self.person.ask("GET", back)
            except WENT_WRONG as error:
                self.load.failed("way back from the bank", str(error) or type(error).__name__)

    def sees_the_end_of(self, payment):
        until = time.monotonic() + PATIENCE_S / 2
        while self.sees(payment)["status"] == "processing":
            assert time.monotonic() < until, f"{payment.id} does not end"
            time.sleep(1)
