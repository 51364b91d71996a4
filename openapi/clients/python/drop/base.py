"""What every problem has."""

from drop_client.models.problem import Problem


class DropError(Exception):
    """A problem that the service answered with. Each documented code is a class of its own, in `drop.codes`; this one
    itself is raised for codes that are newer than this client."""

    def __init__(self, problem: Problem, retry_after: int | None, location: str | None) -> None:
        super().__init__(f"{problem.code} ({problem.status}): {problem.detail} [request {problem.request_id}]")
        self.problem = problem
        self.code = problem.code
        #: Seconds after which another attempt makes sense, where the service said so.
        self.retry_after = retry_after
        #: Where to look, where the service said so: the equal payment of `possible_duplicate`, for one.
        self.location = location
