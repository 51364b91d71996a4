"""A payment as it changes."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import httpx
from drop_client.models.problem import Problem
from drop_client.models.transaction import Transaction

from .answers import error
from .codes import InternalError, RateLimited, Unavailable

#: Longer than the service is silent: every 15 s it sends a comment.
SILENCE = httpx.Timeout(10, read=45)


def follow(
    http: httpx.Client,
    access_token: Callable[[], str],
    transaction: str,
    *,
    last_event_id: str | None = None,
    pause: float = 1,
) -> Iterator[Transaction]:
    """Yields the payment each time that it changes, until its bank's last word. A stream that ends before, which each does
    after ten minutes, is opened again with `Last-Event-ID`: nothing is shown twice, and the last state is never missed."""
    while True:
        rest = pause
        try:
            headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {access_token()}"}
            if last_event_id is not None:
                headers["Last-Event-ID"] = last_event_id
            with http.stream("GET", f"/v1/transactions/{transaction}/events", headers=headers, timeout=SILENCE) as answer:
                if answer.status_code == 204:
                    return
                if answer.status_code in (502, 504):
                    raise httpx.RemoteProtocolError("what stands before the service has lost it")
                if answer.status_code != 200:
                    answer.read()
                    raise error(Problem.from_dict(answer.json()), answer.headers)
                for event in events(answer.iter_lines()):
                    last_event_id = event.id or last_event_id
                    payment = Transaction.from_dict(json.loads(event.data))
                    yield payment
                    if payment.bank_final:
                        return
        except httpx.TransportError:
            pass  # a connection that broke off: come back
        except (RateLimited, Unavailable, InternalError) as refused:
            rest = max(pause, refused.retry_after or 0)
        time.sleep(rest)


@dataclass
class Event:
    """A message of a stream."""

    id: str | None = None
    data: str = ""


def events(lines: Iterable[str]) -> Iterator[Event]:
    """The messages of a `text/event-stream`; comments, which only keep it open, are passed over."""
    event, data = Event(), list[str]()
    for line in lines:
        if line == "":
            if data:
                event.data = "\n".join(data)
                yield event
            event, data = Event(), []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "id":
            event.id = value
