"""From an answer to its data or its error, and what to do about an error."""

from collections.abc import Mapping
from typing import Literal, TypeVar, assert_never

from drop_client.models.problem import Problem
from drop_client.types import Response

from .base import DropError
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
    seconds = headers.get("retry-after", "")
    kind = ERRORS.get(problem.code, DropError)
    return kind(problem, int(seconds) if seconds.isdigit() else None, headers.get("location"))


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
