"""A celery application on kombu's SQS transport: its one task writes a line."""

import os
from pathlib import Path

from celery import Celery

host = os.environ["QUESTD_URL"].removeprefix("http://")
key = "{AWS_ACCESS_KEY_ID}:{AWS_SECRET_ACCESS_KEY}".format(**os.environ)
app = Celery("app", broker=f"sqs://{key}@{host}//")
app.conf.broker_transport_options = {"is_secure": False, "region": "us-east-1", "wait_time_seconds": 5}
app.conf.task_default_queue = "tasks"
app.conf.worker_prefetch_multiplier = 10


@app.task(name="note")
def note(number: int) -> None:
    """Write a number down."""
    with Path(os.environ["NOTES"]).open("a") as notes:
        notes.write(f"{number}\n")
