"""What a generated client lacks: errors by code, logins and sessions, waiting, and following a payment."""

from .answers import Advice, advice, data
from .base import DropError, ForeignAnswer
from .codes import Code
from .events import follow
from .session import Keep, LoginEnded, NotKept, Saved, Session, StartedLogin, finish_login, start_login
from .waiting import RESPOND_ASYNC, new_key, until, wait

__all__ = [
    "RESPOND_ASYNC",
    "Advice",
    "Code",
    "DropError",
    "ForeignAnswer",
    "Keep",
    "LoginEnded",
    "NotKept",
    "Saved",
    "Session",
    "StartedLogin",
    "advice",
    "data",
    "finish_login",
    "follow",
    "new_key",
    "start_login",
    "until",
    "wait",
]
