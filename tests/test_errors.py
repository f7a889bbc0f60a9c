"""Errors: AWS's names, codes, statuses and texts (contract 1.2.4)."""

import string
from collections.abc import Iterator

import pytest
from botocore.loaders import Loader

from questd import errors

PREFIX = "AWS.SimpleQueueService."

TABLE = """
QueueDoesNotExist                 sqs   AWS.SimpleQueueService.NonExistentQueue              400
QueueNameExists                   sqs   QueueAlreadyExists                                   400
QueueDeletedRecently              sqs   AWS.SimpleQueueService.QueueDeletedRecently          400
PurgeQueueInProgress              sqs   AWS.SimpleQueueService.PurgeQueueInProgress          403
EmptyBatchRequest                 sqs   AWS.SimpleQueueService.EmptyBatchRequest             400
TooManyEntriesInBatchRequest      sqs   AWS.SimpleQueueService.TooManyEntriesInBatchRequest  400
BatchEntryIdsNotDistinct          sqs   AWS.SimpleQueueService.BatchEntryIdsNotDistinct      400
InvalidBatchEntryId               sqs   AWS.SimpleQueueService.InvalidBatchEntryId           400
BatchRequestTooLong               sqs   AWS.SimpleQueueService.BatchRequestTooLong           400
UnsupportedOperation              sqs   AWS.SimpleQueueService.UnsupportedOperation          400
MessageNotInflight                sqs   AWS.SimpleQueueService.MessageNotInflight            400
ReceiptHandleIsInvalid            sqs   ReceiptHandleIsInvalid                               404
InvalidIdFormat                   sqs   InvalidIdFormat                                      400
InvalidMessageContents            sqs   InvalidMessageContents                               400
InvalidAttributeName              sqs   InvalidAttributeName                                 400
InvalidAttributeValue             sqs   InvalidAttributeValue                                400
OverLimit                         sqs   OverLimit                                            403
RequestThrottled                  sqs   RequestThrottled                                     403
InvalidAddress                    sqs   InvalidAddress                                       404
InvalidSecurity                   sqs   InvalidSecurity                                      403
ResourceNotFoundException         sqs   ResourceNotFoundException                            404
KmsAccessDenied                   sqs   KMS.AccessDeniedException                            400
KmsDisabled                       sqs   KMS.DisabledException                                400
KmsInvalidKeyUsage                sqs   KMS.InvalidKeyUsageException                         400
KmsInvalidState                   sqs   KMS.InvalidStateException                            400
KmsNotFound                       sqs   KMS.NotFoundException                                400
KmsOptInRequired                  sqs   KMS.OptInRequired                                    403
KmsThrottled                      sqs   KMS.ThrottlingException                              400
InvalidParameterValueException    coral InvalidParameterValue                                400
MissingRequiredParameterException coral MissingParameter                                     400
SerializationException            coral MalformedInput                                       400
RequestEntityTooLargeException    coral RequestEntityTooLarge                                413
UnknownOperationException         coral InvalidAction                                        400
InternalFailure                   coral InternalFailure                                      500
ServiceUnavailable                coral ServiceUnavailable                                   503
"""

NAMESPACES = {"sqs": "com.amazonaws.sqs", "coral": "com.amazon.coral.service"}


@pytest.mark.parametrize("row", TABLE.strip().splitlines())
def test_the_table_of_errors(row: str) -> None:
    """Each error has AWS's type, older code and status, and says whose fault it is."""
    name, namespace, code, status = row.split()
    error = getattr(errors, name)
    assert error.type == f"{NAMESPACES[namespace]}#{name}"
    assert (error.code, error.status) == (code, int(status))
    assert error.fault == ("Receiver" if int(status) >= 500 else "Sender")


def test_errors_are_those_of_the_model() -> None:
    """No exception of AWS's model is missing, and none of that namespace is invented."""
    shapes = Loader().load_service_model("sqs", "service-2")["shapes"]
    modelled = {name for name, shape in shapes.items() if shape.get("exception")}
    assert {error.__name__ for error in errors.ModelledError.__subclasses__()} == modelled


def named(error: type[errors.SQSError] = errors.SQSError) -> Iterator[type[errors.SQSError]]:
    """Return every class that has a name on the wire."""
    for child in error.__subclasses__():
        if child.type:
            yield child
        yield from named(child)


@pytest.mark.parametrize("error", list(named()))
def test_the_docstring_is_the_text(error: type[errors.SQSError]) -> None:
    """Every class has a text of its own, which takes one value for each of its placeholders."""
    names = [name for _, name, _, _ in string.Formatter().parse(vars(error)["__doc__"]) if name]
    filled = vars(error)["__doc__"]
    for name in names:
        filled = filled.replace(f"{{{name}}}", f"<{name}>")
    assert error(*(f"<{name}>" for name in names)).message == filled != ""


def test_a_subclass_carries_a_text_under_its_parents_name() -> None:
    """The name on the wire is the parent's; the text has the values."""
    error = errors.RepeatedEntryId("id_2")
    assert error.type == "com.amazonaws.sqs#BatchEntryIdsNotDistinct"
    assert error.code == f"{PREFIX}BatchEntryIdsNotDistinct"
    assert error.message == str(error) == "Id id_2 repeated."


@pytest.mark.parametrize("values", [(), ("a", "b")])
def test_values_must_fit_the_text(values: tuple[str, ...]) -> None:
    """Too few or too many values are a mistake of ours."""
    with pytest.raises(ValueError, match="zip"):
        errors.MissingParameter(*values)


def test_braces_in_values_are_left_alone() -> None:
    """What a client sent is never taken for a placeholder."""
    assert errors.InvalidReceiptHandle("{handle}").message.count("{handle}") == 1


def test_what_redis_names() -> None:
    """The first word of an error reply names a class, the others are its values; anything else is none of ours."""
    found = errors.from_redis("QueueNameExists DelaySeconds")
    assert isinstance(found, errors.QueueNameExists)
    assert found.message.endswith("attribute DelaySeconds")
    for text in ("OOM command not allowed", "string", "ClassVar x", "", "from_redis", "__name__"):
        assert errors.from_redis(text) is None


@pytest.mark.parametrize("text", ["SQSError", "SQSError x", "ModelledError", "FrameworkError"])
def test_bases_are_no_errors_of_redis(text: str) -> None:
    """A class without a name on the wire is not what a reply can mean."""
    assert errors.from_redis(text) is None
