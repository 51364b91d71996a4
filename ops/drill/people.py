"""Simulated people, over HTTP alone: each comes from an address of their own, as the limits per address want."""
import http.client
import itertools
import json
import urllib.parse
import uuid

from system import until

# Of 127.0.0.0/8: every address of it is this machine.
_addresses = (f"127.1.{number // 250}.{number % 250 + 1}" for number in itertools.count())


def national_numbers():
    """Synthetic numbers of the Tenor series (month + 80), each with its control digits."""
    first, second = (3, 7, 6, 1, 8, 9, 4, 5, 2), (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)
    for year, month, day in itertools.product(range(70, 100), range(1, 13), range(1, 29)):
        text = f"{day:02}{month + 80:02}{year:02}499"
        for weights in (first, second):
            control = -sum(int(digit) * weight for digit, weight in zip(text, weights)) % 11
            if control == 10:
                break
            text += str(control)
        else:
            yield text


class Answer:
    def __init__(self, status, headers, text):
        self.status, self.headers = status, headers
        try:
            self.body = json.loads(text) if text else {}
        except ValueError:
            self.body = {}

    def expect(self, *statuses):
        assert self.status in statuses, f"{self.status} {self.body.get('code')}, not {statuses}"
        return self


class Person:
    """Somebody in front of a browser. `key` is the sandbox's name for them."""

    numbers = national_numbers()
    # No two alike: a second payment like the first is asked about.
    amounts = itertools.count(10)

    def __init__(self, drop, key="anna"):
        self.drop, self.key, self.address, self.token = drop, key, next(_addresses), None

    @classmethod
    def new(cls, drop):
        number = next(cls.numbers)
        key = f"drill-{number}"
        drop.sandbox("/bankid/people", {
            "key": key, "nationalId": number, "givenName": "Kari", "familyName": "Testperson",
            "birthdate": None, "note": "",
        })
        return cls(drop, key)

    def ask(self, method, url, body=None, cookies=None, elsewhere=False, **headers):
        """One request, of which nothing is followed. Nobody but our API is shown the token."""
        url = urllib.parse.urlsplit(url if url.startswith("http") else self.drop.api + url)
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60, source_address=(self.address, 0))
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers["Accept"] = "application/json"
        if cookies:
            headers["Cookie"] = cookies
        elif self.token and not elsewhere:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            body, headers["Content-Type"] = json.dumps(body), "application/json"
        try:
            connection.request(method, url.path + (f"?{url.query}" if url.query else ""), body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def until(self, what, url, holds, **more):
        """The answer for which it holds, asked for again and again."""
        def asked():
            answer = self.ask("GET", url, **more)
            return answer if holds(answer) else None

        return until(what, asked)

    def comes_back(self, **headers):
        """From our redirect over BankID's page to the callback: its answer, and the cookies that go with it."""
        start = self.ask("GET", "/api/auth/bankid/login?return_to=/").expect(303)
        cookies = "; ".join(cookie.split(";")[0] for cookie in start.headers.get_all("Set-Cookie"))
        page = self.ask("GET", f"{start.headers['Location']}&person={self.key}", elsewhere=True).expect(303)
        return self.ask("GET", page.headers["Location"], cookies=cookies, **headers), cookies

    def logs_in(self):
        """The answer to the callback, whatever it is."""
        answer, cookies = self.comes_back()
        if answer.status == 202:
            place = answer.headers["Location"]
            answer = self.until("the login", place, lambda answer: answer.status != 202, cookies=cookies)
        if answer.status == 200:
            self.token, self.user = answer.body["accessToken"], answer.body["user"]["id"]
        return answer

    def logs_in_without_waiting(self):
        self.comes_back(Prefer="respond-async")[0].expect(202)

    def signed_in(self):
        self.logs_in().expect(200)
        return self

    def asks_for_the_check(self):
        self.ask("POST", "/v1/kyc/applicant", {"email": "kari@example.com"}).expect(201, 202)
        self.until("the applicant", "/v1/kyc", lambda answer: answer.body.get("applicant") == "created")
        return self

    def is_reviewed(self, answer="GREEN", **more):
        reviews = [{"externalUserId": self.user, "answer": answer, **more}]
        self.drop.sandbox("/sumsub/reviews", {"reviews": reviews})
        return self

    def is_approved(self):
        self.asks_for_the_check().is_reviewed()
        self.until("the approval", "/v1/kyc", lambda answer: answer.body.get("status") == "approved")
        return self

    def decides(self, sca_redirect, decision):
        back = self.drop.sandbox("/bank/decisions", {"at": sca_redirect, "decision": decision})["redirect"]
        self.ask("GET", back)

    def with_bank_page(self, path, body):
        answer = self.ask("POST", path, body, Idempotency_Key=str(uuid.uuid4())).expect(201, 202)
        if not answer.body.get("scaRedirect"):
            place = answer.headers["Location"] or f"{path}/{answer.body['id']}"
            answer = self.until("the bank's page", place, lambda answer: answer.body.get("scaRedirect"))
        return answer.body

    def links_a_bank(self):
        self.decides(self.with_bank_page("/v1/bank-consents", {})["scaRedirect"], "approve")
        listed = self.until("an account", "/v1/bank-accounts", lambda answer: answer.body.get("accounts"))
        self.account = listed.body["accounts"][0]["id"]
        self.until("a balance", f"/v1/bank-accounts/{self.account}/balance", lambda answer: answer.body.get("amount"))
        return self

    def order(self):
        return {
            "accountId": self.account, "instructedAmount": {"amount": f"{next(self.amounts)}.00", "currency": "NOK"},
            "creditorName": "Marko Horvat", "creditorAccount": {"iban": "HR1210010051863000160"},
            "remittanceInformation": f"Drill {uuid.uuid4()}",
        }

    def pays(self, decision):
        """A payment on which they decide so at the bank; its id."""
        payment = self.with_bank_page("/v1/transactions", self.order())
        self.decides(payment["scaRedirect"], decision)
        return payment["id"]

    def pays_in_vain(self):
        """A payment that does not get as far as the bank's page; the answer."""
        return self.ask("POST", "/v1/transactions", self.order(), Idempotency_Key=str(uuid.uuid4()))
