"""A payment as it changes."""

import codecs
import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import httpx
from drop_client.models.transaction import Transaction

from .answers import media_type, refusal, seconds
from .base import ForeignAnswer
from .codes import InternalError, RateLimited, Unavailable

#: Longer than the service is silent: every 15 s it sends a comment.
SILENCE = httpx.Timeout(10, read=45)


def follow(
    http: httpx.Client,
    transaction: str,
    *,
    last_event_id: str | None = None,
    pause: float = 1,
) -> Iterator[Transaction]:
    """Yields the payment each time that it changes, until its bank's last word. A stream that ends before, which each does
    after ten minutes, is opened again with `Last-Event-ID`: nothing is shown twice, and the last state is never missed.
    `http` is a session's, or has its `auth`."""
    while True:
        asked = 0
        try:
            headers = {"Accept": "text/event-stream"}
            if last_event_id is not None:
                headers["Last-Event-ID"] = last_event_id
            with http.stream("GET", f"/v1/transactions/{transaction}/events", headers=headers, timeout=SILENCE) as answer:
                if answer.status_code == 204:
                    return
                if answer.status_code != 200:
                    raise refusal(answer)
                if media_type(answer) != "text/event-stream":
                    raise ForeignAnswer(answer.status_code, seconds(answer.headers))
                for event in events(answer.iter_bytes()):
                    last_event_id = event.id or last_event_id
                    pause = event.retry if event.retry is not None else pause
                    if not event.data:
                        continue
                    payment = Transaction.from_dict(json.loads(event.data))
                    yield payment
                    if payment.bank_final:
                        return
        except httpx.TransportError:
            pass  # a connection that broke off: come back
        except (RateLimited, Unavailable, InternalError) as refused:
            asked = refused.retry_after or 0
        except ForeignAnswer as lost:
            if lost.problem.status < 500:
                raise
            asked = lost.retry_after or 0  # what stands before the service has lost it
        time.sleep(max(pause, asked))


@dataclass
class Event:
    """A message of a stream."""

    id: str | None = None
    data: str = ""
    #: Seconds before a stream that breaks off should be opened again.
    retry: float | None = None


#: A stream's own ends of lines: text has more, which may stand in a message.
END = re.compile(r"\r\n|\n|\r")


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """The whole lines of a stream, wherever it is cut. What has no end is none."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    text = ""
    for chunk in chunks:
        text += decoder.decode(chunk)
        # A carriage return at the very end may be half of an end of line.
        held = "\r" if text.endswith("\r") else ""
        *whole, text = END.split(text.removesuffix(held))
        text += held
        yield from whole


def events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """The messages of a `text/event-stream`; comments, which only keep it open, are passed over."""
    event, data = Event(), list[str]()
    for line in lines(chunks):
        if line == "":
            event.data = "\n".join(data)
            if event != Event():
                yield event
            event, data = Event(), []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "id" and "\0" not in value:
            event.id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            event.retry = int(value) / 1000
