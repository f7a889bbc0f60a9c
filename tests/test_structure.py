"""The house rules that a program can check: twins, directions of imports, nothing invented beside AWS's model."""

import ast
import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader

from questd import errors
from questd.actions import ACTIONS
from questd.batches import BatchAction
from tests.client import ARN, serving
from tests.servers import RedisServer

PACKAGE = Path(errors.__file__).parent
TESTS = Path(__file__).parent

ORDER = (
    "fixtures testing __main__ commands imports elasticmq goaws draft checkup mirror archive exchange upkeep listing lines client terminal entries backup workers loader declared descriptors worker crew restarts signals server console acts pages views charts history texts visits sessions metrics gauges port listener app surplus connection whole parser limits heads errand answer mischief aws_json aws_query access signatures actions extensions batches redrive permissions tables queues tags localstack peek receive batch_entries messages "
    "queue_attributes policies figures pause action facts members request mistakes namespaces together grants promises background relay registry library longpoll capacity "
    "scheme topology cluster sentinel primaries message_attributes identifiers channel pipeline calls durability embedded allocator guard counts logs errors "
    "settings source addresses wire toml"
).split()
"""A module imports only modules that stand further right."""


MODEL: dict[str, Any] = Loader().load_service_model("sqs", "service-2")


def _modules() -> list[str]:
    return sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")


def _imports(module: str) -> set[str]:
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "questd":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("questd."):
            found.add(str(node.module).partition(".")[2])
    return found


def test_every_module_is_in_the_order() -> None:
    """The order of imports names every module, and no other."""
    assert sorted(ORDER) == _modules()


@pytest.mark.parametrize("module", _modules())
def test_imports_point_downwards(module: str) -> None:
    """A module imports only what stands further down."""
    below = set(ORDER[ORDER.index(module) + 1 :])
    assert _imports(module) - {"__version__"} <= below


@pytest.mark.parametrize("module", _modules())
def test_every_module_has_its_test(module: str) -> None:
    """`messages.py` is tested in `test_messages.py`."""
    assert (TESTS / f"test_{module.strip('_')}.py").exists()


@pytest.mark.parametrize("file", sorted(path.stem for path in (PACKAGE / "lua").glob("*.lua")))
def test_every_lua_file_has_its_test(file: str) -> None:
    """`messages.lua` is tested in `lua/test_messages.py`."""
    assert (TESTS / "lua" / f"test_{file}.py").exists()


def test_lua_fails_with_known_names() -> None:
    """Every error that a function of AWS's side names is a class in errors.py; the Quest functions' are plain texts."""
    for path in (PACKAGE / "lua").glob("*.lua"):
        for name in re.findall(r"fail\('(\w+)'", path.read_text()):
            assert issubclass(getattr(errors, name), errors.SQSError), f"{path.name}: {name}"


def test_actions_are_those_of_the_model() -> None:
    """Every action of AWS's model is there, and no other."""
    assert ACTIONS.keys() == MODEL["operations"].keys()
    assert len(ACTIONS) == 23


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_members_are_those_of_the_model(action: str) -> None:
    """An action takes the members that AWS's model gives it, none left out and none invented."""
    shape = MODEL["operations"][action]["input"]["shape"]
    assert set(ACTIONS[action].model_fields) == set(MODEL["shapes"][shape]["members"])


@pytest.mark.parametrize("action", sorted(name for name, action in ACTIONS.items() if issubclass(action, BatchAction)))
def test_entries_are_those_of_the_model(action: str) -> None:
    """An entry of a batch has the name and the members that AWS's model gives it."""
    entry = ACTIONS[action].entry_model  # type: ignore[attr-defined]
    assert set(entry.model_fields) == set(MODEL["shapes"][entry.__name__]["members"])


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_errors_are_those_of_the_model(action: str) -> None:
    """Every error that AWS's model gives an action is a class of that name (codes: test_errors.py)."""
    for reference in MODEL["operations"][action].get("errors", []):
        assert getattr(errors, reference["shape"]).type == f"com.amazonaws.sqs#{reference['shape']}"


def _note(shape: str, value: Any, seen: dict[str, set[str]]) -> None:
    """Add the members of an answer to those seen of their shapes; each must be in the model."""
    kind = MODEL["shapes"][shape]
    if kind["type"] == "structure":
        assert value.keys() <= kind["members"].keys(), shape
        seen.setdefault(shape, set()).update(value)
        for name, member in value.items():
            _note(kind["members"][name]["shape"], member, seen)
    elif kind["type"] == "list":
        for member in value:
            _note(kind["member"]["shape"], member, seen)
    elif kind["type"] == "map":
        for member in value.values():
            _note(kind["value"]["shape"], member, seen)


async def test_results_are_those_of_the_model(redis_server: RedisServer) -> None:
    """A tour of all actions sees every member of every result in AWS's model, and none that is not in it."""
    seen: dict[str, set[str]] = {}
    asked: set[str] = set()
    async with serving(redis_server.url, max_message_size=2048) as sqs:

        async def ask(action: str, **members: Any) -> dict[str, Any]:
            answer = await sqs(action, **members)
            asked.add(action)
            output = MODEL["operations"][action].get("output")
            assert output or not answer
            if output:
                _note(output["shape"], answer, seen)
            return answer

        await _tour(ask, sqs.advance)
    assert asked == ACTIONS.keys()
    refused = {"StringListValues", "BinaryListValues"}  # AWS takes none
    for shape, members in seen.items():
        assert members == MODEL["shapes"][shape]["members"].keys() - refused, shape
    outputs = {operation["output"]["shape"] for operation in MODEL["operations"].values() if "output" in operation}
    assert outputs <= seen.keys()


async def _tour(ask: Callable[..., Awaitable[dict[str, Any]]], advance: Callable[[float], Awaitable[None]]) -> None:
    fifo = {"FifoQueue": "true"}
    dead = (await ask("CreateQueue", QueueName="dead.fifo", Attributes=fifo))["QueueUrl"]
    policy = json.dumps({"deadLetterTargetArn": f"{ARN}:dead.fifo", "maxReceiveCount": 1})
    await ask("CreateQueue", QueueName="p.fifo", Attributes=fifo | {"RedrivePolicy": policy})
    q = (await ask("CreateQueue", QueueName="q.fifo", Attributes=fifo | {"RedrivePolicy": policy}))["QueueUrl"]
    await ask("GetQueueUrl", QueueName="q.fifo")
    await ask("SetQueueAttributes", QueueUrl=q, Attributes={"VisibilityTimeout": "1"})
    await ask("GetQueueAttributes", QueueUrl=q, AttributeNames=["All"])
    await ask("ListQueues", MaxResults=1)
    await ask("ListDeadLetterSourceQueues", QueueUrl=dead, MaxResults=1)
    await ask("TagQueue", QueueUrl=q, Tags={"a": "b"})
    await ask("ListQueueTags", QueueUrl=q)
    await ask("UntagQueue", QueueUrl=q, TagKeys=["a"])
    await ask("AddPermission", QueueUrl=q, Label="l", AWSAccountIds=["111122223333"], Actions=["SendMessage"])
    await ask("RemovePermission", QueueUrl=q, Label="l")
    message = {
        "MessageBody": "x",
        "MessageGroupId": "g",
        "MessageAttributes": {
            "text": {"DataType": "String", "StringValue": "x"},
            "bytes": {"DataType": "Binary", "BinaryValue": "AQID"},
        },
        "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1"}},
    }
    await ask("SendMessage", QueueUrl=q, MessageDeduplicationId="0", **message)
    entries = [message | {"Id": str(i), "MessageDeduplicationId": str(i)} for i in range(1, 6)]
    entries[4] |= {"MessageBody": "\u0001"}
    await ask("SendMessageBatch", QueueUrl=q, Entries=entries)
    await _tour_of_received(ask, q)
    await advance(1)
    await ask("ReceiveMessage", QueueUrl=q)  # the rest are dead letters now
    await _tour_of_tasks(ask, advance, dead)
    await ask("PurgeQueue", QueueUrl=q)


async def _tour_of_received(ask: Callable[..., Awaitable[dict[str, Any]]], q: str) -> None:
    names = {"AttributeNames": ["All"], "MessageAttributeNames": ["All"]}
    received = await ask("ReceiveMessage", QueueUrl=q, MaxNumberOfMessages=10, **names)
    handles = [message["ReceiptHandle"] for message in received["Messages"]]
    given = [{"Id": "a", "ReceiptHandle": handles[0]}, {"Id": "b", "ReceiptHandle": "garbage"}]
    await ask("ChangeMessageVisibility", QueueUrl=q, ReceiptHandle=handles[0], VisibilityTimeout=1)
    timed = [entry | {"VisibilityTimeout": 1} for entry in given]
    await ask("ChangeMessageVisibilityBatch", QueueUrl=q, Entries=timed)
    await ask("DeleteMessageBatch", QueueUrl=q, Entries=given)
    await ask("DeleteMessage", QueueUrl=q, ReceiptHandle=handles[1])


async def _tour_of_tasks(
    ask: Callable[..., Awaitable[dict[str, Any]]], advance: Callable[[float], Awaitable[None]], dead: str
) -> None:
    there = (await ask("CreateQueue", QueueName="there.fifo", Attributes={"FifoQueue": "true"}))["QueueUrl"]
    slowly = {
        "SourceArn": f"{ARN}:dead.fifo",
        "DestinationArn": f"{ARN}:there.fifo",
        "MaxNumberOfMessagesPerSecond": 1,
    }
    task = await ask("StartMessageMoveTask", **slowly)
    await ask("ListMessageMoveTasks", SourceArn=slowly["SourceArn"])
    await ask("CancelMessageMoveTask", **task)
    await ask("StartMessageMoveTask", **slowly)
    await ask("DeleteQueue", QueueUrl=there)
    await advance(2)
    while (await ask("ListMessageMoveTasks", SourceArn=slowly["SourceArn"]))["Results"][0]["Status"] == "RUNNING":
        await asyncio.sleep(0.01)
    await ask("DeleteQueue", QueueUrl=dead)
