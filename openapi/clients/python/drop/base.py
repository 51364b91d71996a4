"""What every refusal has."""

from uuid import UUID

from drop_client.models.problem import Problem


class DropError(Exception):
    """A problem that the service answered with. Each documented code is a class of its own, in `drop.codes`; this one
    itself is raised for codes that are newer than this client."""

    def __init__(self, problem: Problem, retry_after: int | None, location: str | None) -> None:
        super().__init__(f"{problem.code} ({problem.status}): {problem.detail} [request {problem.request_id}]")
        self.problem = problem
        self.code = problem.code
        #: Seconds after which another attempt makes sense, where the service said so; with `possible_duplicate` another look.
        self.retry_after = retry_after
        #: Where to look, where the service said so: the equal payment of `possible_duplicate`, for one.
        self.location = location


class ForeignAnswer(DropError):
    """An answer that is not the service's: what stands between gave it, in its own words. Its `code` is `other`, and the request
    may have arrived all the same: repeat it with the same Idempotency-Key."""

    def __init__(self, status: int, retry_after: int | None) -> None:
        words = "Not an answer of this service"
        problem = Problem("other", words, [], UUID(int=0), status, words, "about:blank")
        super().__init__(problem, retry_after, None)
