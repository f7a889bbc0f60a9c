"""ElasticMQ's configuration as questd's: what its keys become, and what is said of the others."""

import tomllib
from typing import Any

import pytest

from questd import elasticmq
from questd.settings import BadSetting

EVERYTHING = """
include classpath("application.conf")

node-address { protocol = https, host = sqs.example.com, port = 443, context-path = "queues" }
rest-sqs { enabled = true, bind-port = 9999, bind-hostname = "0.0.0.0", sqs-limits = relaxed }
rest-stats { enabled = true, bind-port = 9998, bind-hostname = "0.0.0.0" }
generate-node-address = false

queues {
    // all is optional
    orders {
        defaultVisibilityTimeout = 10 seconds
        delay = 1500 ms
        receiveMessageWait = "20 s"
        deadLettersQueue { name = "orders-dead", maxReceiveCount = 3 }
        fifo = false
        contentBasedDeduplication = false
        copyTo = "audit"
        moveTo = "elsewhere"
        tags { team = "shop", number = 7 }
    }
    orders-dead { }
    mail { fifo = true, contentBasedDeduplication = true, delay = 3000 }
    "post.fifo" { fifo = true, defaultVisibilityTimeout = 2 minutes }
}
queues.orders-dead.defaultVisibilityTimeout = 1 hour

messages-storage { enabled = true, uri = "jdbc:h2:/data", password = "secret" }
queues-storage { enabled = false }
aws { region = us-west-2, accountId = 000000000000 }
akka.loglevel = DEBUG
"""


def read(content: str) -> tuple[dict[str, Any], str]:
    """Return what a configuration becomes, and its comments."""
    text = elasticmq.read(content, "elasticmq.conf").text()
    return tomllib.loads(text), text


def test_everything() -> None:
    """Each key of the configuration that questd has the like of is carried over, in SQS's units."""
    found, _ = read(EVERYTHING)
    assert found == {
        "host": "0.0.0.0",
        "anonymous": True,
        "port": 9999,
        "console_port": 9998,
        "public_url": "https://sqs.example.com:443/queues",
        "region": "us-west-2",
        "account": "000000000000",
        "queues": {
            "orders": {
                "VisibilityTimeout": 10,
                "DelaySeconds": 1,
                "ReceiveMessageWaitTimeSeconds": 20,
                "dead_letter_queue": "orders-dead",
                "max_receive_count": 3,
                "tags": {"team": "shop", "number": "7"},
            },
            "orders-dead": {"VisibilityTimeout": 3600},
            "mail.fifo": {"ContentBasedDeduplication": True, "DelaySeconds": 3},
            "post.fifo": {"VisibilityTimeout": 120},
        },
    }


def test_what_is_lost_is_told() -> None:
    """What questd has not is named with the reason; what is switched off is not, and no password is shown."""
    _, text = read(EVERYTHING)
    lost = [line.removeprefix("# not carried over: ") for line in text.splitlines() if "not carried over" in line]
    assert [line.partition(", because ")[0] for line in lost] == [
        'include = "classpath(\\"application.conf\\")"',
        'sqs-limits = "relaxed"',
        "messages-storage",
        "akka",
        'copyTo = "audit"',
        'moveTo = "elsewhere"',
    ]
    assert all(line.partition(", because ")[2] for line in lost)
    assert "secret" not in text


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("", {}),
        ('node-address { host = "*", port = 9324 }', {}),
        ("node-address { host = sqs }", {"public_url": "http://sqs:9324"}),
        ("node-address { host = sqs }, generate-node-address = true", {}),
        ("rest-sqs { bind-hostname = localhost }", {"host": "localhost"}),
        ("rest-stats { enabled = false, bind-port = 1 }", {"console_port": "off"}),
        ('aws { accountId = "111122223333" }', {"account": "111122223333"}),
    ],
)
def test_addresses(content: str, settings: dict[str, Any]) -> None:
    """Where it listens and how its URLs begin is carried over as far as the file says it."""
    assert read(content)[0] == settings


def test_it_listens_everywhere_by_default() -> None:
    """When the file leaves it to ElasticMQ, which listens everywhere, it is told that questd does not."""
    assert "# ElasticMQ listens on every address, questd on 127.0.0.1" in read("")[1]
    assert "listens on every address" not in read("rest-sqs { bind-hostname = localhost }")[1]


@pytest.mark.parametrize("content", ["queues {", "a = ${nowhere}", "queues = 3", "queues { a = 3 }", "aws = [1]"])
def test_what_is_none(content: str) -> None:
    """A file that ElasticMQ would not read is refused in a line."""
    with pytest.raises(BadSetting, match="ElasticMQ reads"):
        elasticmq.read(content, "elasticmq.conf")
