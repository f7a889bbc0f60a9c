"""A right request of each action, in both protocols, and what can be made of it."""

import json
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import quote_plus

from questd.aws_query import LISTS, MAPS
from tests.client import ARN

URL = "http://127.0.0.1/000000000000/q"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": f"{ARN}:q"}],
}
ATTRIBUTE = {"DataType": "String", "StringValue": "x"}
MESSAGE = {
    "MessageBody": "body",
    "DelaySeconds": 1,
    "MessageAttributes": {"a": ATTRIBUTE, "b": {"DataType": "Binary", "BinaryValue": "AQID"}},
    "MessageSystemAttributes": {"AWSTraceHeader": ATTRIBUTE},
}
SETTINGS = {
    "VisibilityTimeout": "40",
    "KmsMasterKeyId": "alias/x",
    "Policy": json.dumps(POLICY),
    "RedrivePolicy": json.dumps({"deadLetterTargetArn": f"{ARN}:dead", "maxReceiveCount": 3}),
    "RedriveAllowPolicy": json.dumps({"redrivePermission": "byQueue", "sourceQueueArns": [f"{ARN}:q"]}),
}
RIGHT: dict[str, dict[str, Any]] = {
    "AddPermission": {"QueueUrl": URL, "Label": "l", "AWSAccountIds": ["111122223333"], "Actions": ["SendMessage"]},
    "CancelMessageMoveTask": {"TaskHandle": "eyJ0YXNrSWQiOiJ4Iiwic291cmNlQXJuIjoieSJ9"},
    "ChangeMessageVisibility": {"QueueUrl": URL, "ReceiptHandle": "{handle}", "VisibilityTimeout": 5},
    "ChangeMessageVisibilityBatch": {
        "QueueUrl": URL,
        "Entries": [{"Id": "a", "ReceiptHandle": "{handle}", "VisibilityTimeout": 5}],
    },
    "CreateQueue": {"QueueName": "new", "Attributes": SETTINGS, "tags": {"a": "b"}},
    "DeleteMessage": {"QueueUrl": URL, "ReceiptHandle": "{handle}"},
    "DeleteMessageBatch": {"QueueUrl": URL, "Entries": [{"Id": "a", "ReceiptHandle": "{handle}"}]},
    "DeleteQueue": {"QueueUrl": URL},
    "GetQueueAttributes": {"QueueUrl": URL, "AttributeNames": ["All"]},
    "GetQueueUrl": {"QueueName": "q", "QueueOwnerAWSAccountId": "000000000000"},
    "ListDeadLetterSourceQueues": {
        "QueueUrl": "http://127.0.0.1/000000000000/dead",
        "MaxResults": 1,
        "NextToken": "cQ==",
    },
    "ListMessageMoveTasks": {"SourceArn": f"{ARN}:dead", "MaxResults": 1},
    "ListQueueTags": {"QueueUrl": URL},
    "ListQueues": {"QueueNamePrefix": "q", "MaxResults": 1, "NextToken": "cQ=="},
    "PurgeQueue": {"QueueUrl": URL},
    "ReceiveMessage": {
        "QueueUrl": URL,
        "MaxNumberOfMessages": 2,
        "VisibilityTimeout": 30,
        "WaitTimeSeconds": 0,
        "AttributeNames": ["All"],
        "MessageSystemAttributeNames": ["SenderId"],
        "MessageAttributeNames": ["a.*"],
        "ReceiveRequestAttemptId": "attempt",
    },
    "RemovePermission": {"QueueUrl": URL, "Label": "l"},
    "SendMessage": {"QueueUrl": URL, **MESSAGE},
    "SendMessageBatch": {"QueueUrl": URL, "Entries": [MESSAGE | {"Id": "a"}, MESSAGE | {"Id": "b"}]},
    "SetQueueAttributes": {"QueueUrl": URL, "Attributes": SETTINGS},
    "StartMessageMoveTask": {
        "SourceArn": f"{ARN}:dead",
        "DestinationArn": f"{ARN}:q",
        "MaxNumberOfMessagesPerSecond": 1,
    },
    "TagQueue": {"QueueUrl": URL, "Tags": {"a": "b"}},
    "UntagQueue": {"QueueUrl": URL, "TagKeys": ["a"]},
}

TEXTS = (
    *("", " ", "\0", "a\0b", "a\r\nX-Evil: 1", "\n", "\ud800", "\udfff\ud800", "\udcff", "\ufffe", "\uffff", "\U0010ffff"),
    *("x" * 300, "é" * 70_000, "'", '"', "]]", "{}", "{x}", "q}", "quest:{q}", "~us-east-1/000000000000/q", "*", "[a-z]*"),
    *("%s%n", "../../q", "//", "/", "q/", "q.fifo", ".fifo", "q\n", "All", "0", "-1", "1e9", "NaN", "9" * 19, "9" * 5000),
    *("true", "null", "[", "{" * 3000, "[" * 3000, "<x/>", "]]>", "&lt;", "AQID", "===", "eyJ0YXNrSWQiOjF9", "arn:aws:sqs"),
    *(f"{ARN}:q", f"{ARN}:", f"{ARN}:q:r", f"{ARN}:\udcff", URL, URL + "\0", "http://x/1/é", "a" * 1024, "x" * 1_100_000),
    *('{"deadLetterTargetArn":1}', '{"maxReceiveCount":1e400,"deadLetterTargetArn":"arn:aws:sqs:::q"}'),
    '{"maxReceiveCount":' + "9" * 4000 + ',"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead"}',
    '{"maxReceiveCount":' + "9" * 100_000 + ',"deadLetterTargetArn":"x"}',
    *('{"redrivePermission":[]}', '{"redrivePermission":{}}', '{"Statement":[[]]}', '{"Statement":{"Effect":[]}}'),
)  # fmt: skip
"""Texts in the place of others."""

RAW = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-0", b"1.0", b"0.1", b"9" * 19, b"9" * 4300, b"9" * 100_000),
    *(b"null", b"true", b"[]", b"{}", b"[null]", b'[[[["a"]]]]', b'{"":{}}', b'{"a":null}', b"[" * 300, b"[" * 3000),
    *(b'"\xff"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"\\u0000"', b'"\0"', b'"\\x"', b'"', b"", b"'a'", b"//", b"1,2"),
    b"[" + b'"a",' * 3000 + b'"a"]',
    b"{" + b",".join(b'"%d":"x"' % i for i in range(3000)) + b"}",
    b"{" + b'"a":1,' * 3000 + b'"a":"b"}',
)  # fmt: skip
"""JSON, or none, in the place of a value."""

NAMES = ("", "Unknown", "QueueUrl", "\0", "\ud800", "x" * 10_000, "__proto__", "Entries", "a.b.c.d")
MARK = "\x01raw\x01"


def right(action: str, handle: str) -> dict[str, Any]:
    """Return the members of a right request."""
    members: dict[str, Any] = json.loads(json.dumps(RIGHT[action]).replace("{handle}", handle))
    return members


def mutated(members: dict[str, Any], chance: Random) -> bytes:
    """Return members as JSON with something wrong in one or two places."""
    raw: list[bytes] = []
    for _ in range(chance.choice((1, 1, 2))):
        _change(members, chance, raw)
    body = json.dumps(members, ensure_ascii=chance.random() < 0.8).encode(errors="surrogatepass")
    mark = json.dumps(MARK).encode()
    for piece in raw:
        body = body.replace(mark, piece, 1)
    return with_noise(body, chance) if chance.random() < 0.1 else body


def with_noise(body: bytes, chance: Random) -> bytes:
    """Return bytes with a few others among them or missing."""
    noisy = bytearray(body)
    for _ in range(chance.randrange(1, 4)):
        place = chance.randrange(len(noisy) + 1)
        noisy[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(4))
    return bytes(noisy)


def _change(members: Any, chance: Random, raw: list[bytes]) -> None:
    """Change one value somewhere, or a name."""
    places = list(_places(members))
    if not places:
        return
    holder, key = chance.choice(places)
    if isinstance(holder, dict) and chance.random() < 0.15:
        value = holder.pop(key)
        if chance.random() < 0.7:
            holder[chance.choice(NAMES)] = value
    elif chance.random() < 0.5:
        raw.append(chance.choice(RAW))
        holder[key] = MARK
    else:
        holder[key] = chance.choice(TEXTS)


def _places(value: Any) -> Any:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield value, key
        yield from _places(inner)


@dataclass
class Form:
    """Parameters of the Query protocol."""

    pairs: list[tuple[str, str | bytes]]

    def encoded(self) -> bytes:
        """Return them as they stand in a body."""
        return b"&".join(f"{_quoted(name)}={_quoted(value)}".encode() for name, value in self.pairs)


def _quoted(text: str | bytes) -> str:
    return quote_plus(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))


def form(action: str, members: dict[str, Any]) -> Form:
    """Return a request as the Query protocol has it."""
    return Form([("Action", action), *_flat(members, "", f"{action}RequestEntry")])


def _flat(members: dict[str, Any], prefix: str, entry: str) -> Any:
    for name, value in members.items():
        if name in MAPS:
            element, key = MAPS[name]
            for i, (one, inner) in enumerate(value.items(), 1):
                yield f"{prefix}{element}.{i}.{key}", one
                if isinstance(inner, dict):
                    yield from _flat(inner, f"{prefix}{element}.{i}.Value.", entry)
                else:
                    yield f"{prefix}{element}.{i}.Value", inner
        elif isinstance(value, list):
            for i, inner in enumerate(value, 1):
                if isinstance(inner, dict):
                    yield from _flat(inner, f"{prefix}{entry}.{i}.", entry)
                else:
                    yield f"{prefix}{LISTS[name]}.{i}", inner
        else:
            yield f"{prefix}{name}", str(value)


PARTS = ("", "0", "1", "-1", "999999999", "9" * 30, "Name", "Value", "Key", "\0", "é", "1.1.1", "x" * 3000, "." * 300)


def mutated_form(given: Form, chance: Random) -> bytes:
    """Return a form with something wrong in one or two places."""
    pairs = given.pairs
    for _ in range(chance.choice((1, 1, 2))):
        place = chance.randrange(len(pairs))
        name, value = pairs[place]
        if chance.random() < 0.4:
            parts = name.split(".")
            parts[chance.randrange(len(parts))] = chance.choice((*PARTS, *NAMES))
            pairs[place] = ".".join(parts), value
        elif chance.random() < 0.8:
            pairs[place] = name, chance.choice((*TEXTS, *RAW))
        else:
            pairs.insert(place, (name, chance.choice(TEXTS)))
    body = given.encoded()
    return with_noise(body, chance) if chance.random() < 0.15 else body
