"""Mirror: `questd mirror` moves the messages of a queue to another one, at any two SQS servers, through boto3.

boto3 knows everybody's credentials, profiles and roles. A message is deleted only when the target has it.
"""

import argparse
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from questd import entries
from questd.client import NO_QUEUE, Refused, endpoint_of, is_url, name_of, region_of
from questd.entries import EVERYTHING
from questd.terminal import Screen

Messages = list[dict[str, Any]]

WAIT = 5
"""Seconds that the source has to have been empty."""

INSTALL = "mirror needs boto3: pip install 'questd[mirror]'"


class Side:
    """A queue, and the boto3 client of its server."""

    def __init__(self, queue: str, endpoint: str, profile: str | None) -> None:
        import boto3  # noqa: PLC0415  # an extra
        from botocore import UNSIGNED  # noqa: PLC0415
        from botocore.config import Config  # noqa: PLC0415

        session = boto3.Session(profile_name=profile)
        signature = {} if session.get_credentials() else {"signature_version": UNSIGNED}
        self.client = session.client(
            "sqs", endpoint_url=endpoint, region_name=region_of(endpoint), config=Config(**signature)
        )
        self.url = queue if is_url(queue) else self._url_of(queue, endpoint)
        self.name = name_of(self.url)

    def _url_of(self, queue: str, endpoint: str) -> str:
        try:
            url: str = self.client.get_queue_url(QueueName=queue)["QueueUrl"]
        except self.client.exceptions.QueueDoesNotExist:
            raise Refused(NO_QUEUE.format(queue, endpoint)) from None
        return url

    def received(self) -> Messages:
        """Receive messages with all that is in them."""
        found: Messages = self.client.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=entries.BATCH, WaitTimeSeconds=WAIT, **EVERYTHING
        ).get("Messages", [])
        return found

    def delete(self, messages: Messages) -> None:
        """Delete messages that were received. Raises Refused."""
        handles = [{"Id": str(i), "ReceiptHandle": one["ReceiptHandle"]} for i, one in enumerate(messages)]
        reply = self.client.delete_message_batch(QueueUrl=self.url, Entries=handles)
        if failed := entries.failure(reply):
            name = messages[failed[0]]["MessageId"]
            raise Refused(f"message {name} is in both queues now: it was not deleted in {self.name}, {failed[1]}")

    def total(self) -> int:
        """Return about how many messages can be received."""
        name = "ApproximateNumberOfMessages"
        reply = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=[name])
        return int(reply["Attributes"][name])


def mirror(screen: Screen, options: argparse.Namespace) -> None:
    """Move messages until the source has none, or for ever."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  # an extra
    except ImportError:
        raise Refused(INSTALL) from None
    try:
        _mirror(screen, options)
    except (BotoCoreError, ClientError) as error:
        raise Refused(f"{error} (what the target does not have is still in the source)") from None


def _mirror(screen: Screen, options: argparse.Namespace) -> None:
    sides = (options.source, options.source_profile), (options.target, options.target_profile)
    source, target = (Side(queue, endpoint_of(options.endpoint, queue), profile) for queue, profile in sides)
    if source.url == target.url:
        raise Refused(f"{source.url} is source and target")
    number = 0
    with (
        closing(source.client),
        closing(target.client),
        screen.progress(f"{source.name} to {target.name}", None if options.follow else source.total()) as advance,
    ):
        while (found := source.received()) or options.follow:
            for moved in _moved(source, target, found, options.group):
                number += moved
                advance(moved)
    values = {"Source": source.url, "Target": target.url, "Moved": number}
    screen.done(values, f"moved {number:,} messages from {source.name} to {target.name}")


def _moved(source: Side, target: Side, messages: Messages, group: str | None) -> Iterator[int]:
    """Send messages, delete those that the target has, and yield how many. Raises Refused at one that fails."""
    sent = [entries.for_queue(entries.of_message(message), target.name, group) for message in messages]
    for batch in entries.batches(enumerate(sent)):
        reply = target.client.send_message_batch(QueueUrl=target.url, Entries=batch)
        done = [messages[int(one["Id"])] for one in reply.get("Successful", [])]
        if done:
            source.delete(done)
        yield len(done)
        if failed := entries.failure(reply):
            name = messages[failed[0]]["MessageId"]
            raise Refused(f"{target.name} refused message {name}, {failed[1]}: it is still in {source.name}")
