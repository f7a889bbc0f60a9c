"""goaws' configuration as questd's: what its keys become, and what is said of the others."""

import tomllib
from typing import Any

import pytest

from questd import goaws
from questd.settings import BadSetting

EVERYTHING = """
Dev:
  Host: elsewhere
Local:                              # a comment
  Host: goaws
  Port: 4100
  SnsPort: 9292
  Region: local-01
  AccountId: 000000000000
  LogToFile: false
  QueueAttributeDefaults:
    VisibilityTimeout: 10
    ReceiveMessageWaitTimeSeconds: 1
    MaximumMessageSize: 1024
  Queues:
    - Name: one
    - Name: two
      ReceiveMessageWaitTimeSeconds: 20
      MaximumMessageSize: 100
      MessageRetentionPeriod: 600
      RedrivePolicy: '{"maxReceiveCount": 100, "deadLetterTargetArn":"arn:aws:sqs:us-east-1:1:two-dlq"}'
    - Name: three
      RedrivePolicy: nonsense
    - Name: two-dlq
  Topics:
    - Name: local-topic1
      Subscriptions:
        - QueueName: one
          Raw: false
        - QueueName: four
          Raw: true
    - Name: local-topic2
"""


def read(content: str) -> tuple[dict[str, Any], str]:
    """Return what a configuration becomes, and its comments."""
    text = goaws.read(content, "goaws.yaml").text()
    return tomllib.loads(text), text


def test_everything() -> None:
    """The environment Local is carried over: its defaults go into each queue, also into those of subscriptions."""
    found, _ = read(EVERYTHING)
    defaults = {"VisibilityTimeout": 10, "ReceiveMessageWaitTimeSeconds": 1, "MaximumMessageSize": 1024}
    assert found == {
        "port": 4100,
        "public_url": "http://goaws:4100",
        "region": "local-01",
        "account": "000000000000",
        "queues": {
            "one": defaults,
            "two": {
                "VisibilityTimeout": 10,
                "ReceiveMessageWaitTimeSeconds": 20,
                "MessageRetentionPeriod": 600,
                "dead_letter_queue": "two-dlq",
                "max_receive_count": 100,
            },
            "three": defaults,
            "two-dlq": defaults,
            "four": defaults,
        },
    }


def test_what_is_lost_is_told() -> None:
    """What questd has not is named with the reason: other environments, SNS, and what SQS would refuse."""
    _, text = read(EVERYTHING)
    lost = [line.removeprefix("# not carried over: ") for line in text.splitlines() if "not carried over" in line]
    assert [line.partition(", because ")[0] for line in lost] == [
        'the environment = "Dev"',
        'the topic = "local-topic1"',
        'the topic = "local-topic2"',
        "SnsPort = 9292",
        "LogToFile = false",
        "MaximumMessageSize = 100",
        'RedrivePolicy = "nonsense"',
    ]
    assert "# goaws listens on every address, questd on 127.0.0.1" in text
    assert "# named only in a subscription to the topic local-topic1\n[queues.four]" in text


def test_another_environment() -> None:
    """Without a Local the first environment is taken; the port of SQS alone counts as well."""
    assert read("Dev:\n  Host: a\n  SqsPort: 9324\nTest:\n  Host: b\n")[0] == {
        "port": 9324,
        "public_url": "http://a:9324",
    }


@pytest.mark.parametrize("content", ["", "a: [", "3", "Local: 3", "Local: {Queues: 3}", "Local: {Topics: [a]}"])
def test_what_is_none(content: str) -> None:
    """A file that goaws would not read is refused in a line."""
    with pytest.raises(BadSetting) as raised:
        goaws.read(content, "goaws.yaml")
    assert "\n" not in str(raised.value)
