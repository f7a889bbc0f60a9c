"""Queue attributes in themselves: the corner cases that HTTP tests do not reach."""

import pytest

from questd import errors, queue_attributes
from questd.queue_attributes import readable

LIMITS = {"MaximumMessageSize": 2**20, "MessageRetentionPeriod": 1_209_600}


def stored(attributes: dict[str, str]) -> queue_attributes.Stored:
    """Return what is stored of attributes of a standard queue, with AWS's limits."""
    return queue_attributes.stored(attributes, LIMITS, None)


@pytest.mark.parametrize("value", ["007", "7"])
def test_numbers_are_stored_in_canonical_form(value: str) -> None:
    """A number is kept without leading zeros (contract 3.2)."""
    assert stored({"DelaySeconds": value}) == {"DelaySeconds": "7"}


@pytest.mark.parametrize("value", ["٣", "1e2", "+5", "0x1", "1_0", "²"])
def test_what_only_python_takes_for_a_number_is_none(value: str) -> None:
    """Only ASCII digits are a number."""
    with pytest.raises(errors.InvalidAttributeValue):
        stored({"DelaySeconds": value})


@pytest.mark.parametrize("value", ["True", "TRUE", "true"])
def test_booleans_are_read_in_any_case(value: str) -> None:
    """A boolean reads back in lower case (contract 3.2)."""
    assert stored({"SqsManagedSseEnabled": value})["SqsManagedSseEnabled"] == "true"


def test_a_redrive_policy_is_stored_in_parts() -> None:
    """The target and the count are two fields; an empty policy takes both away."""
    arn = "arn:aws:sqs:us-east-1:000000000000:dead"
    policy = f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"3"}}'
    assert stored({"RedrivePolicy": policy}) == {"deadLetterTarget": arn, "maxReceiveCount": "3"}
    assert stored({"RedrivePolicy": ""}) == {"deadLetterTarget": "", "maxReceiveCount": ""}


def test_eleven_sources_are_too_many() -> None:
    """A RedriveAllowPolicy names ten sources at most (contract 7.2)."""
    arns = ",".join(f'"arn:aws:sqs:us-east-1:000000000000:q{i}"' for i in range(11))
    with pytest.raises(errors.InvalidParameterValueException, match="maximum number of source queue ARNs"):
        stored({"RedriveAllowPolicy": f'{{"redrivePermission":"byQueue","sourceQueueArns":[{arns}]}}'})


def test_the_key_reuse_period_shows_only_with_a_key() -> None:
    """KmsDataKeyReusePeriodSeconds is not shown without KmsMasterKeyId (contract 3.2)."""
    fields = {"created": "1999", "modified": "2000", "KmsDataKeyReusePeriodSeconds": "300"}
    shown = readable(fields, (1, 2, 3), lambda name: f"arn:{name}", "q")
    assert "KmsDataKeyReusePeriodSeconds" not in shown
    assert (shown["CreatedTimestamp"], shown["LastModifiedTimestamp"], shown["QueueArn"]) == ("1", "2", "arn:q")
