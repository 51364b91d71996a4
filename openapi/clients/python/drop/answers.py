"""From an answer to its data or its error, and what to do about an error."""

import json
from collections.abc import Mapping
from typing import Literal, TypeVar, assert_never

import httpx
from drop_client.models.problem import Problem
from drop_client.types import Response

from .base import DropError, ForeignAnswer
from .codes import ERRORS, Code

T = TypeVar("T")


def data(response: Response[T | Problem]) -> T:
    """The data of an answer; raises its problem."""
    parsed = response.parsed
    if isinstance(parsed, Problem):
        raise error(parsed, response.headers)
    # An answer without a body has none to parse: its operation's type says so.
    return parsed  # type: ignore[return-value]


def error(problem: Problem, headers: Mapping[str, str]) -> DropError:
    """The error that a problem is."""
    kind = ERRORS.get(problem.code, DropError)
    return kind(problem, seconds(headers), headers.get("location"))


def refusal(answer: httpx.Response) -> DropError:
    """The error that an answer is, whoever gave it."""
    try:
        return error(Problem.from_dict(json.loads(answer.read())), answer.headers)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ForeignAnswer(answer.status_code, seconds(answer.headers))


def ours_alone(answer: httpx.Response) -> None:
    """Raises what is neither a problem nor what an operation may answer. A generated call would stumble over its words."""
    if answer.status_code >= 400:
        refused = refusal(answer)
        if isinstance(refused, ForeignAnswer):
            raise refused
        return
    spoken = media_type(answer)
    expected = answer.status_code in (204, 303) or spoken in ("application/json", "text/event-stream")
    # What has no type is ours where it is empty.
    if not expected and (spoken or answer.read()):
        raise ForeignAnswer(answer.status_code, seconds(answer.headers))


def media_type(answer: httpx.Response) -> str:
    """What an answer says that it is, without parameters; empty where it does not say."""
    named: str = answer.headers.get("content-type", "")
    return named.partition(";")[0].strip().lower()


def seconds(headers: Mapping[str, str]) -> int | None:
    """`Retry-After`, where it is a number, which the service's always is."""
    text = headers.get("retry-after", "")
    return int(text) if text.isascii() and text.isdigit() else None


Advice = Literal[
    "mend the request",
    "sign in again",
    "start the login again",
    "tell the person",
    "ask the person",
    "look again",
    "try again later, with the same Idempotency-Key",
]


def advice(code: Code) -> Advice:
    """What a client does about a code. One that comes into the document fails the type check until it is thought about."""
    match code:
        case "bad_request" | "forbidden" | "invalid_signature" | "validation_failed" | "idempotency_key_reused":
            return "mend the request"
        case "payload_too_large" | "unsupported_media_type":
            return "mend the request"
        case "unauthenticated":
            return "sign in again"
        case "bankid_cancelled" | "invalid_state" | "invalid_callback" | "bankid_error":
            return "start the login again"
        case "token_exchange_failed" | "jwks_verification_failed" | "invalid_identity_claim":
            return "start the login again"
        case "underage" | "age_unverified" | "not_found" | "limit_exceeded" | "provider_error":
            return "tell the person"
        case "kyc_required" | "possible_duplicate":
            return "ask the person"
        case "conflict":
            return "look again"
        case "request_timeout" | "rate_limited" | "internal_error" | "circuit_open" | "overloaded" | "unavailable":
            return "try again later, with the same Idempotency-Key"
        case _:
            assert_never(code)
