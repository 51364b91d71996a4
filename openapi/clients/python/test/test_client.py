"""The client beside a service that answers as it should not, and streams that are cut anywhere."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from drop import ForeignAnswer, NotKept, Saved, Session, StartedLogin, data, finish_login, follow
from drop.codes import NotFound, Unauthenticated
from drop.events import Event, events
from drop_client.api.accounts import get_balance, refresh_balance
from drop_client.api.auth import get_me

TX = "tx_0190a5a47c7e7d5ab8a1f2d3c4b5a697"
PERSON = {"id": "usr_0190a5a47c7e7d5ab8a1f2d3c4b5a697", "firstName": "Anna", "lastName": "Hansen", "kycStatus": "approved"}
NEW_TOKENS = {"accessToken": "new", "refreshToken": "second", "expiresIn": 600, "tokenType": "Bearer"}

Answer = tuple[int, dict[str, str], str]


class Request(BaseHTTPRequestHandler):
    """One whose body was read."""

    body = b""


@contextmanager
def served(answer: Callable[[Request], Answer]) -> Iterator[str]:
    """A service of a few lines, for one test."""

    class Handler(Request):
        def do_GET(self) -> None:
            self.body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, headers, body = answer(self)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def session(url: str, keep: Callable[[Saved], None] | None = None, fresh_for: float = 60) -> Session:
    return Session.restore(url, Saved(PERSON, "old", "first", time.time() + fresh_for), keep)


def shown(status: int, body: object) -> Answer:
    spoken = "application/json; charset=utf-8" if status < 400 else "application/problem+json"
    return status, {"Content-Type": spoken}, json.dumps(body)


def problem(status: int, code: str) -> Answer:
    named = {"type": f"urn:drop:problem:{code}", "title": code, "detail": code, "code": code, "status": status, "errors": []}
    return shown(status, named | {"request_id": "019a8c5e-7d1f-7c3a-9b52-0f6d3e8a4c11"})


# ── Answers of what stands between ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("status", "spoken", "body"),
    [
        (502, "text/html", "<h1>Bad gateway</h1>"),
        (503, "application/problem+json", '{"type": "about:blank", "title": "The edge\'s own"}'),
        (403, "application/json", "[]"),
        (200, "text/html", "<form>Please sign in to this network</form>"),
        (202, "", "<form>Please sign in to this network</form>"),
    ],
)
def test_an_answer_in_foreign_words_is_a_typed_error(status: int, spoken: str, body: str) -> None:
    with served(lambda _: (status, {"Content-Type": spoken, "Retry-After": "7"}, body)) as url:
        with pytest.raises(ForeignAnswer) as foreign:
            data(get_me.sync_detailed(client=session(url).client))
    assert (foreign.value.code, foreign.value.problem.status, foreign.value.retry_after) == ("other", status, 7)


# ── Answers without a body ──────────────────────────────────────────────────────────────────────────────────────────────
LOGIN = StartedLogin("login", "https://bankid.example", "verifier")
LINK = "app:/?login=login&login_code=code"
NOTHING: Answer = (202, {}, "")


def test_a_check_that_takes_longer_answers_202_with_nothing_in_it_and_is_asked_for_again() -> None:
    answers = [NOTHING, shown(200, NEW_TOKENS | {"user": PERSON})]
    with served(lambda _: answers.pop(0)) as url:
        begun = finish_login(url, LOGIN, LINK)
        assert begun is not None and begun.access_token() == "new"


def test_a_balance_that_is_not_there_yet_is_202_with_nothing_in_it() -> None:
    account = "acc_0190a5a47c7e7d5ab8a1f2d3c4b5a697"
    with served(lambda _: NOTHING) as url:
        for ask in (get_balance, refresh_balance):
            answer = ask.sync_detailed(account, client=session(url).client)
            assert (answer.status_code, data(answer)) == (202, None)


# ── Tokens ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_refused_token_is_renewed_once_for_all_threads_and_kept_before_it_is_used() -> None:
    seen: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        token = request.headers.get("authorization", "")
        seen.append(f"{request.path} {token}".strip())
        if request.path == "/v1/auth/refresh":
            return shown(200, NEW_TOKENS)
        return shown(200, PERSON) if token == "Bearer new" else problem(401, "unauthenticated")

    kept: list[Saved] = []

    def keep(saved: Saved) -> None:
        assert "/v1/me Bearer new" not in seen, "kept before it is used"
        kept.append(saved)

    with served(answer) as url:
        one = session(url, keep)
        names: list[str] = []
        ask = lambda: names.append(data(get_me.sync_detailed(client=one.client)).first_name)  # noqa: E731
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert names == ["Anna"] * 3
        assert seen.count("/v1/auth/refresh") == 1
        assert [(saved.access_token, saved.refresh_token) for saved in kept] == [("new", "second")]
        # What was kept is enough to go on, in another process.
        restored = Session.restore(url, Saved(**json.loads(json.dumps(asdict(kept[0])))))
        assert (restored.access_token(), restored.person.first_name) == ("new", "Anna")
        assert seen.count("/v1/auth/refresh") == 1, "it is fresh"


def test_a_session_that_is_over_is_said_once_after_one_attempt() -> None:
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        asked.append(request.path)
        return problem(401, "unauthenticated")

    with served(answer) as url:
        with pytest.raises(Unauthenticated):
            data(get_me.sync_detailed(client=session(url).client))
        assert asked == ["/v1/me", "/v1/auth/refresh"]
        with pytest.raises(Unauthenticated):
            next(follow(session(url).http, TX))


class FailsOnce:
    """A disk that is full once."""

    def __init__(self) -> None:
        self.kept: list[Saved] = []
        self._full = True

    def __call__(self, saved: Saved) -> None:
        if self._full:
            self._full = False
            raise OSError("the disk is full")
        self.kept.append(saved)


def test_a_pair_that_could_not_be_kept_is_used_nevertheless_and_whoever_asked_is_told() -> None:
    bodies: list[bytes] = []

    def answer(request: Request) -> Answer:
        if request.path != "/v1/auth/refresh":
            return shown(200, PERSON)
        bodies.append(request.body)
        return shown(200, NEW_TOKENS)

    keep = FailsOnce()
    with served(answer) as url:
        one = session(url, keep, fresh_for=-1)
        with pytest.raises(OSError, match="the disk is full"):
            data(get_me.sync_detailed(client=one.client))
        assert one.access_token() == "new"
        assert data(get_me.sync_detailed(client=one.client)).first_name == "Anna"
        one.refresh()
    assert [json.loads(body)["refreshToken"] for body in bodies] == ["first", "second"], "each is used once"
    assert [saved.refresh_token for saved in keep.kept] == ["second"]


def test_a_login_that_could_not_be_kept_is_an_error_with_its_session() -> None:
    with served(lambda _: shown(200, NEW_TOKENS | {"user": PERSON})) as url:
        with pytest.raises(NotKept) as failed:
            finish_login(url, LOGIN, LINK, FailsOnce())
        assert isinstance(failed.value.__cause__, OSError)
        assert failed.value.session.access_token() == "new"


def test_what_is_asynchronous_is_refused_before_anything_is_sent() -> None:
    asked: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        asked.append(request.path)
        return shown(200, PERSON)

    with served(answer) as url:
        with pytest.raises(TypeError, match="synchronous only"):
            asyncio.run(get_me.asyncio_detailed(client=session(url).client))
    assert asked == []


def test_a_refresh_whose_answer_an_edge_lost_is_asked_for_once_more() -> None:
    answers = [(502, {"Content-Type": "text/html"}, "<h1>Bad gateway</h1>"), shown(200, NEW_TOKENS)]
    with served(lambda _: answers.pop(0)) as url:
        assert session(url, fresh_for=-1).access_token() == "new"


# ── Streams ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
WHOLE = "".join(
    [
        "\ufeff: a comment\n",
        'id: 1\r\ndata: {"a":\r\ndata:  "ø\u2028"}\r\n\r\n',
        ":\n\n",
        "retry: 250\n\n",
        "retry: soon\nid: 2\nevent: message\ndata:two\r\r",
        "id\ndata\n\n",
        "data: never ended",
    ]
).encode()


def test_a_stream_is_read_the_same_wherever_it_is_cut() -> None:
    expected = [Event("1", '{"a":\n "ø\u2028"}'), Event(retry=0.25), Event("2", "two"), Event("")]
    for size in range(1, len(WHOLE) + 1):
        pieces = (WHOLE[at : at + size] for at in range(0, len(WHOLE), size))
        assert list(events(pieces)) == expected, f"in pieces of {size}"


def payment(version: int) -> str:
    whole: dict[str, Any] = {"id": TX, "version": version, "bankFinal": version == 3, "status": "processing"}
    whole |= {"accountId": "acc_0190a5a47c7e7d5ab8a1f2d3c4b5a697", "creditorName": "Marko", "creditorAccount": "HR12*"}
    whole |= {"instructedAmount": {"amount": "1.00", "currency": "NOK"}}
    whole |= {"createdAt": "2026-02-23T10:00:00Z", "updatedAt": "2026-02-23T10:00:00Z"}
    return f"id: {version}\ndata: {json.dumps(whole)}\n\n"


def test_a_stream_that_ends_is_taken_up_after_what_was_seen_as_soon_as_it_asks_for() -> None:
    last: list[str | None] = []

    def answer(request: BaseHTTPRequestHandler) -> Answer:
        last.append(request.headers.get("last-event-id"))
        if len(last) == 2:
            return 504, {"Content-Type": "text/html"}, "<h1>Timeout</h1>"
        stream = f"retry: 10\n\n{payment(1)}" if len(last) == 1 else payment(2) + payment(3)
        return 200, {"Content-Type": "text/event-stream"}, stream

    began = time.monotonic()
    with served(answer) as url:
        assert [seen.version for seen in follow(session(url).http, TX, pause=5)] == [1, 2, 3]
    assert last == [None, "1", "1"]
    assert time.monotonic() - began < 4, "the stream's own pause"


def test_what_no_waiting_cures_is_raised() -> None:
    with served(lambda _: problem(404, "not_found")) as url, pytest.raises(NotFound):
        next(follow(session(url).http, TX))


@pytest.mark.parametrize("spoken", ["text/html", "application/json", ""])
def test_what_is_no_stream_of_events_is_not_taken_for_one(spoken: str) -> None:
    answers = [(200, {"Content-Type": spoken}, ": welcome\n\n"), problem(404, "not_found")]
    with served(lambda _: answers.pop(0)) as url, pytest.raises(ForeignAnswer):
        next(follow(session(url).http, TX, pause=0))
