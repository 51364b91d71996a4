"""How long to wait, and under which name to ask."""

import time
import uuid
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: `Prefer`: do not wait, answer 202 and let me look at `Location`.
RESPOND_ASYNC = "respond-async"


def wait(seconds: int) -> str:
    """`Prefer`: wait this long for the outcome; the service waits 10 to 15 s when nothing is said, and never longer."""
    return f"wait={seconds}"


def new_key() -> str:
    """A new name for one intention. Keep it until the outcome is known, and send it again with every repetition."""
    return str(uuid.uuid4())


def until(read: Callable[[], T], wanted: Callable[[T], bool], seconds: float = 30) -> T:
    """Reads until the answer is as wanted; for what goes on after a 202. A payment is better followed, see `follow`."""
    deadline, pause = time.monotonic() + seconds, 0.2
    while not wanted(seen := read()):
        if time.monotonic() + pause > deadline:
            raise TimeoutError(f"not so within {seconds} s")
        time.sleep(pause)
        pause = min(pause * 2, 3)
    return seen
