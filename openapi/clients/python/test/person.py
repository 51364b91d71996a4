"""What a person does outside the app: at BankID, at their bank, before Sumsub's camera."""

import os
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import httpx
from drop.codes import RateLimited
from drop_client.types import Unset

T = TypeVar("T")

SANDBOX = os.environ.get("DROP_SANDBOX", "http://127.0.0.1:9100")


def patiently(step: Callable[[], T]) -> T:
    """Waits where the service asks to: an address has ten logins a minute, and all programs here are at the same."""
    while True:
        try:
            return step()
        except RateLimited as refused:
            time.sleep(refused.retry_after or 1)


def signs_in(authorization_url: str, person: str) -> str:
    """Signs in on the device's browser; the link that the app is opened with."""
    back = redirect(httpx.get(f"{authorization_url}&person={person}"))
    answer = httpx.get(back, headers={"Accept": "text/html"})
    while answer.status_code == 429:
        time.sleep(int(answer.headers["retry-after"]))
        answer = httpx.get(back, headers={"Accept": "text/html"})
    return redirect(answer)


def approves(sca_redirect: str | Unset) -> None:
    """Approves on the bank's page and comes back."""
    assert isinstance(sca_redirect, str), "the bank's page is not there"
    back = redirect(httpx.post(sca_redirect, data={"decision": "approve"}))
    httpx.get(back, headers={"Accept": "application/json"}).raise_for_status()


def is_verified(user: str) -> None:
    """Sumsub finds the person genuine."""
    review = {"reviews": [{"externalUserId": user, "answer": "GREEN"}]}
    httpx.post(f"{SANDBOX}/control/sumsub/reviews", json=review).raise_for_status()


def redirect(answer: httpx.Response) -> str:
    assert answer.status_code == 303, f"{answer.status_code} of {answer.url.path}"
    return str(answer.url.join(answer.headers["location"]))


class CutAfterFirst(httpx.HTTPTransport):
    """A connection whose first stream breaks after its first event; notes the `Last-Event-ID` of each."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str | None] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.opened.append(request.headers.get("last-event-id"))
        answer = super().handle_request(request)
        if len(self.opened) == 1:
            assert isinstance(answer.stream, httpx.SyncByteStream)
            answer.stream = _Cut(answer.stream)
        return answer


class _Cut(httpx.SyncByteStream):
    def __init__(self, whole: httpx.SyncByteStream) -> None:
        self._whole = whole

    def __iter__(self) -> Iterator[bytes]:
        text = b""
        for chunk in self._whole:
            text += chunk
            yield chunk
            if b"\n\n" in text:
                raise httpx.ReadError("the connection was lost")

    def close(self) -> None:
        self._whole.close()
