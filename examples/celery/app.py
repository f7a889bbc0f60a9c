"""A celery application on kombu's SQS transport; its tasks are messages of the queue `tasks`."""

import os

from celery import Celery
from celery.utils.log import get_task_logger

log = get_task_logger(__name__)

app = Celery("app", broker=os.environ["BROKER_URL"])
app.conf.broker_transport_options = {
    "is_secure": False,  # http
    "region": "us-east-1",
    "wait_time_seconds": 20,  # long polls: questd answers as soon as there is a task
    "visibility_timeout": 60,  # a task that takes longer is done twice
}
app.conf.task_default_queue = "tasks"
app.conf.task_acks_late = True  # a task is deleted when it is done: one whose worker dies is done by another
app.conf.worker_enable_remote_control = False  # SQS has no broadcast


@app.task
def bake(pizza: str) -> None:
    """Do the work. A task may be done more than once, so that doing it twice must do no harm."""
    log.info("baked %s", pizza)
