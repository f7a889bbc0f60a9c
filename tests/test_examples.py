"""The examples do what their READMEs say, each with its own packages, installed once."""

import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boto import client_of
from tests.sdk.programs import prepared, venv
from tests.stories import APPLICATION, ROOT, Reader

EXAMPLES = ROOT / "examples"


@pytest.fixture
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Reader]:
    """Have somebody in a copy of an example, with its packages and a questd."""
    packages = prepared(request.param, [], venv("-r", "requirements.txt"), where=EXAMPLES)
    directory = tmp_path / request.param
    shutil.copytree(EXAMPLES / request.param, directory)
    with Reader(directory, packages / "bin") as reader:
        reader.run("questd serve --ephemeral --workers 1")
        yield reader


@pytest.mark.parametrize("reader", ["producer_consumer"], indirect=True)
def test_producer_and_consumer(reader: Reader) -> None:
    """Seven of the ten orders are baked once, three fail twice and are dead letters; the consumer ends in peace."""
    reader.read(EXAMPLES / "producer_consumer" / "README.md")
    assert reader.printed.endswith("sent 10 orders\n")
    consumer = reader.programs.pop("python consumer.py")
    sqs = client_of(reader.url)
    dead: list[dict[str, str]] = []
    while len(dead) < 3:
        dead += sqs.receive_message(QueueUrl="orders-dead", WaitTimeSeconds=20)["Messages"]
    sqs.close()
    assert consumer.end() == 0
    lines = consumer.said.splitlines()
    assert sorted(line for line in lines if line.startswith("baked")) == sorted(
        f"baked {order % 4} for order {order}" for order in range(10) if order % 4
    )
    assert lines.count("failed: an order of nothing") == 6
    assert sorted(message["Body"] for message in dead) == [f'{{"order": {order}, "pizzas": 0}}' for order in (0, 4, 8)]


@pytest.mark.parametrize("reader", ["celery"], indirect=True)
def test_celery(reader: Reader) -> None:
    """The worker does each task that was ordered."""
    reader.read(EXAMPLES / "celery" / "README.md")
    said = reader.programs["celery"].wait_for("baked margherita", "baked funghi", "baked quattro stagioni")
    assert said.count("baked") == 3


@pytest.mark.parametrize("reader", ["fastapi"], indirect=True)
def test_fastapi(reader: Reader) -> None:
    """An order is accepted, and baked in the background; the application ends in peace."""
    reader.read(EXAMPLES / "fastapi" / "README.md")
    url = f"http://127.0.0.1:{reader.ports[APPLICATION]}/orders/margherita"
    with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=20) as answer:
        assert answer.status == 202
    uvicorn = reader.programs.pop("uvicorn")
    uvicorn.wait_for("baked margherita")
    uvicorn.end()
    assert "Application shutdown complete" in uvicorn.said
