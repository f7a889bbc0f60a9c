"""boto3, the SDK that most clients use, as a client of a test's own questd."""

from typing import Any

import boto3


def client_of(url: str, key_id: str = "any", secret: str = "any", **more: Any) -> Any:
    """Return a client of the questd at `url`; `more` is boto3's."""
    return boto3.client(
        "sqs",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        **more,
    )
