"""How much a worker takes on at a time: requests in flight, and long polls that wait. More is refused at once.

It owns the two counts and what is said when one is full; it knows neither HTTP nor what a request is for.
"""

from dataclasses import dataclass

from questd import errors


@dataclass(slots=True)
class Capacity:
    """The counts of one worker, and how far each may go."""

    max_requests: int
    max_waiting: int
    requests: int = 0
    """Requests that are being answered; a long poll is none of them while it waits."""
    waiting: int = 0
    """Long polls that wait."""

    def begin(self) -> None:
        """Count a request, until it is taken from `requests`. Raises TooManyRequests when it is one too many."""
        self.requests += 1
        if self.requests > self.max_requests:
            raise errors.TooManyRequests(self.max_requests)

    def begin_wait(self) -> None:
        """Count a request as a long poll that waits, until `end_wait`. Raises TooManyWaiting."""
        if self.waiting >= self.max_waiting:
            raise errors.TooManyWaiting(self.max_waiting)
        self.waiting += 1
        self.requests -= 1

    def end_wait(self) -> None:
        """Count it as a request again."""
        self.waiting -= 1
        self.requests += 1
