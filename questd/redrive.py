"""Dead-letter queues: which queues name one as theirs."""

import asyncio
from typing import Annotated, Any

from questd.action import Integer, Questd, QueueAction, Request, between
from questd.library import key_of
from questd.queues import MAX_RESULTS, PAGE, after, token_of


class ListDeadLetterSourceQueues(QueueAction):
    """List the queues whose RedrivePolicy names this one, in pages when asked for."""

    MaxResults: Annotated[Integer, between(1, PAGE, MAX_RESULTS)] | None = None
    NextToken: str | None = None

    async def __call__(self, questd: Questd, request: Request) -> dict[str, Any]:
        """Return the URLs of a page, by name."""
        await questd.call("quest_facts", self.QueueUrl, repeat=True)
        last = after(self.NextToken, "") if self.NextToken else ""
        members = await questd.library.execute("SMEMBERS", f"{key_of(self.QueueUrl)}:sources")
        once = sorted(name for name in (member.decode() for member in members) if name > last)
        targets = await asyncio.gather(
            *(questd.library.execute("HGET", key_of(name), "deadLetterTarget") for name in once)
        )
        sources = [name for name, to in zip(once, targets, strict=True) if to == self.QueueUrl.encode()]
        page = sources[: self.MaxResults or PAGE]
        result: dict[str, Any] = {"queueUrls": [questd.url(name, request) for name in page]} if page else {}
        if len(sources) > len(page) and self.MaxResults:
            result["NextToken"] = token_of(page[-1])
        return result
