"""Login of an app, and the session that comes of it."""

import base64
import hashlib
import secrets
import threading
import time
from dataclasses import dataclass, field
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

from .answers import data

#: Longer than the service waits for anybody.
PATIENCE = httpx.Timeout(30)
#: A refresh whose answer was lost is repeated while the old token still answers with the new one, for ten seconds.
REFRESHING = httpx.Timeout(4)


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


def start_login(base_url: str) -> StartedLogin:
    """Starts a login; keep what is returned until the app's link is opened."""
    verifier = secrets.token_urlsafe(32)
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    body = NewAppLogin(app_challenge=challenge)
    login = data(start_app_login.sync_detailed(client=Client(base_url=base_url, timeout=PATIENCE), body=body))
    return StartedLogin(login.id, login.authorization_url, verifier)


def finish_login(base_url: str, login: StartedLogin, link: str) -> "Session | None":
    """Redeems what the app's link was opened with. None: it is not the link of this login, which goes on."""
    given = parse_qs(urlsplit(link).query)
    if given.get("login") != [login.id]:
        return None
    if "error" in given:
        raise LoginEnded(given["error"][0])
    body = Redemption(login_code=given["login_code"][0], app_verifier=login.verifier)
    while True:
        answer = redeem_app_login.sync_detailed(
            login.id, client=Client(base_url=base_url, timeout=PATIENCE), body=body
        )
        redeemed = data(answer)
        # 202: the check takes longer than the service waits; the same request again waits on.
        if isinstance(redeemed, LoggedIn):
            return Session(base_url, redeemed)


class Session:
    """A person's session in an app: gives every call a live access token, and refreshes it before it ends."""

    def __init__(self, base_url: str, logged_in: LoggedIn) -> None:
        self.base_url = base_url
        self.person: Person = logged_in.user
        self.http = httpx.Client(base_url=base_url)
        self._lock = threading.Lock()
        self._take(logged_in)

    @property
    def client(self) -> AuthenticatedClient:
        """For the operations of `drop_client.api`; ask for it anew for each call."""
        return AuthenticatedClient(base_url=self.base_url, token=self.access_token(), timeout=PATIENCE)

    def access_token(self) -> str:
        """A token that lives for half a minute at least."""
        with self._lock:
            if time.time() >= self._fresh_until:
                self._refresh()
            return self._access_token

    def refresh(self) -> None:
        """A refresh token is good for one use, so threads that need a new one wait for each other."""
        with self._lock:
            self._refresh()

    def _refresh(self) -> None:
        body = RefreshToken(refresh_token=self._refresh_token)
        client = Client(base_url=self.base_url, timeout=REFRESHING)
        try:
            answer = refresh_session.sync_detailed(client=client, body=body)
        except httpx.TransportError:
            answer = refresh_session.sync_detailed(client=client, body=body)
        self._take(data(answer))

    def _take(self, tokens: LoggedIn | Tokens) -> None:
        if isinstance(tokens.refresh_token, Unset):
            raise TypeError("an app is given a refresh token")
        self._access_token, self._refresh_token = tokens.access_token, tokens.refresh_token
        self._fresh_until = time.time() + tokens.expires_in - 30
