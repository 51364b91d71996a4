"""Login of an app, and the session that comes of it."""

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import httpx
from drop_client import AuthenticatedClient, Client
from drop_client.api.auth import redeem_app_login, refresh_session, start_app_login
from drop_client.models.logged_in import LoggedIn
from drop_client.models.new_app_login import NewAppLogin
from drop_client.models.person import Person
from drop_client.models.redemption import Redemption
from drop_client.models.refresh_token import RefreshToken
from drop_client.models.tokens import Tokens
from drop_client.types import Unset

from .answers import data, ours_alone
from .base import ForeignAnswer
from .codes import Unauthenticated

#: Longer than the service waits for anybody.
PATIENCE = httpx.Timeout(30)
#: A refresh whose answer was lost is repeated while the old token still answers with the new one, for ten seconds.
REFRESHING = httpx.Timeout(4)
#: For every connection: what is not the service's is an error of its own.
CHECKED: dict[str, Any] = {"event_hooks": {"response": [ours_alone]}}


@dataclass(frozen=True)
class StartedLogin:
    """A login that waits for its person at BankID: open `authorization_url` in the system's browser."""

    id: str
    authorization_url: str
    verifier: str = field(repr=False)


class LoginEnded(Exception):
    """What ended a login before there was anything to redeem: the code in the app's link."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the login ended: {code}")
        self.code = code


@dataclass(frozen=True)
class Saved:
    """All of a session, to be kept where the device keeps secrets: `Session.restore` takes it up again."""

    person: dict[str, Any]
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    #: In seconds since 1970: until then the access token is used without asking for a new one.
    fresh_until: float


#: Told of each session that begins and of each refresh, before its new tokens are used: a refresh token is good once. What it
#: raises goes to whoever needed the tokens; the session has them all the same, and does not tell of them again.
Keep = Callable[[Saved], None]


def start_login(base_url: str) -> StartedLogin:
    """Starts a login; keep what is returned until the app's link is opened."""
    verifier = secrets.token_urlsafe(32)
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    body = NewAppLogin(app_challenge=challenge)
    login = data(start_app_login.sync_detailed(client=_anybody(base_url, PATIENCE), body=body))
    return StartedLogin(login.id, login.authorization_url, verifier)


def finish_login(base_url: str, login: StartedLogin, link: str, keep: Keep | None = None) -> "Session | None":
    """Redeems what the app's link was opened with. None: it is not the link of this login, which goes on."""
    given = parse_qs(urlsplit(link).query)
    if given.get("login") != [login.id]:
        return None
    if "error" in given:
        raise LoginEnded(given["error"][0])
    body = Redemption(login_code=given["login_code"][0], app_verifier=login.verifier)
    client = _anybody(base_url, PATIENCE)
    while True:
        redeemed = data(redeem_app_login.sync_detailed(login.id, client=client, body=body))
        # 202: the check takes longer than the service waits; the same request again waits on.
        if isinstance(redeemed, LoggedIn):
            return Session.begin(base_url, redeemed, keep)


class NotKept(Exception):
    """The login succeeded, and `keep` raised what this comes from: `session` lives, and only this error knows of it."""

    def __init__(self, session: "Session") -> None:
        super().__init__("the session that has begun could not be kept")
        self.session = session


class Session:
    """A person's session in an app: gives every call a live access token, and refreshes it before it ends. For threads and
    synchronous only: the generated calls that are named `asyncio` raise a TypeError."""

    def __init__(self, base_url: str, saved: Saved, keep: Keep | None = None) -> None:
        self.base_url = base_url
        self.person = Person.from_dict(saved.person)
        self._saved, self._keep = saved, keep
        self._lock = threading.Lock()
        #: For httpx: puts the access token into each request, and once a new one where the service does not take it any more.
        self.auth: httpx.Auth = _Bearer(self)
        #: For `follow`.
        self.http = httpx.Client(base_url=base_url, auth=self.auth, **CHECKED)
        #: For the operations of `drop_client.api`.
        self.client = AuthenticatedClient(
            base_url=base_url, token="", timeout=PATIENCE, httpx_args={"auth": self.auth, **CHECKED}
        )

    @classmethod
    def begin(cls, base_url: str, logged_in: LoggedIn, keep: Keep | None = None) -> Self:
        """The session that a login has begun."""
        saved = _saved(logged_in.user.to_dict(), logged_in)
        session = cls(base_url, saved, keep)
        if keep is not None:
            try:
                keep(saved)
            except Exception as error:
                raise NotKept(session) from error
        return session

    @classmethod
    def restore(cls, base_url: str, saved: Saved, keep: Keep | None = None) -> Self:
        """The session that `keep` was told of last, when the app starts again."""
        return cls(base_url, saved, keep)

    def access_token(self) -> str:
        """A token that lives for half a minute at least."""
        with self._lock:
            if time.time() >= self._saved.fresh_until:
                self._refresh()
            return self._saved.access_token

    def refresh(self) -> None:
        """A refresh token is good for one use, so threads that need a new one wait for each other."""
        with self._lock:
            self._refresh()

    def renewed(self, refused: str) -> str:
        """The token after one that the service refused, whatever our clock says."""
        with self._lock:
            # Another thread may have been faster.
            if self._saved.access_token == refused:
                self._refresh()
            return self._saved.access_token

    def _refresh(self) -> None:
        body = RefreshToken(refresh_token=self._saved.refresh_token)
        client = _anybody(self.base_url, REFRESHING)
        try:
            answer = refresh_session.sync_detailed(client=client, body=body)
        except (httpx.TransportError, ForeignAnswer):
            answer = refresh_session.sync_detailed(client=client, body=body)
        # First of all ours: the old refresh token is used up, whatever becomes of keeping the new one.
        self._saved = _saved(self._saved.person, data(answer))
        if self._keep is not None:
            self._keep(self._saved)


class _Bearer(httpx.Auth):
    def __init__(self, session: Session) -> None:
        self._session = session

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self._session.access_token()
        request.headers["Authorization"] = f"Bearer {token}"
        answer = yield request
        if answer.status_code != 401:
            return
        try:
            token = self._session.renewed(token)
        except Unauthenticated:
            return  # the session is over: the first answer says so as well
        request.headers["Authorization"] = f"Bearer {token}"
        yield request

    def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        raise TypeError("a drop.Session is synchronous only: use a thread, and sync_detailed or sync")


def _anybody(base_url: str, timeout: httpx.Timeout) -> Client:
    return Client(base_url=base_url, timeout=timeout, httpx_args=CHECKED)


def _saved(person: dict[str, Any], tokens: LoggedIn | Tokens) -> Saved:
    if isinstance(tokens.refresh_token, Unset):
        raise TypeError("an app is given a refresh token")
    # Half a minute early, so that no token ends on its way.
    return Saved(person, tokens.access_token, tokens.refresh_token, time.time() + tokens.expires_in - 30)
