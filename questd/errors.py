"""Every error that a client can get. The class is named as AWS names it, its docstring is AWS's text, filled with values.

    SQSError
    ├── ModelledError                       com.amazonaws.sqs: in AWS's model of SQS (contract 1.2.4)
    │   ├── BatchEntryIdsNotDistinct ── RepeatedEntryId
    │   ├── BatchRequestTooLong ── BatchTooLong
    │   ├── EmptyBatchRequest ── NoEntries
    │   ├── InvalidAttributeName ── UnknownAttribute, OnlyForFifoQueues, TwoKindsOfEncryption
    │   ├── InvalidAttributeValue ── InvalidValue, QueueTypeIsFixed, LimitNeedsScope, RedrivePolicyNotJson,
    │   │       RedriveAllowPolicyUnsupported
    │   ├── OverLimit ── PolicyTooLong, QueueFull, TooManyInFlight, TooManyInPermission, TooManyInStatement,
    │   │       TooManySubmittedStatements
    │   ├── ReceiptHandleIsInvalid ── InvalidReceiptHandle, ReceiptHandleOfAnotherQueue
    │   ├── RequestThrottled ── TooManyRequests, TooManyWaiting
    │   ├── ResourceNotFoundException ── ArnDoesNotExist, TaskDoesNotExist
    │   ├── TooManyEntriesInBatchRequest ── TooManyEntries
    │   ├── UnsupportedOperation ── ListValuesNotSupported
    │   └── InvalidAddress, InvalidBatchEntryId, InvalidIdFormat, InvalidMessageContents, InvalidSecurity, Kms…, MessageNotInflight,
    │       PurgeQueueInProgress, QueueDeletedRecently, QueueDoesNotExist, QueueNameExists
    └── FrameworkError                      com.amazon.coral.service: AWS's framework
        ├── InvalidParameterValueException ── InvalidParameter ── RedrivePolicyInvalid, RedriveAllowPolicyInvalid,
        │       MessageNotAvailable, TotalVisibilityTimeoutBeyondLimit; the names of queues; MessageTooLong,
        │       BatchedMessageTooLong; AttemptNotRetryable, BatchedWithoutGroup, NoDeduplicationId, ReceiptHandleExpired;
        │       InvalidNextToken, InvalidPageSize; tags; labels of permissions; move tasks; the message attributes' (contract 4.3)
        ├── MissingRequiredParameterException ── MissingParameter
        ├── SerializationException ── UnconvertibleValue, UnexpectedList, UnexpectedStructure, UnrecognizedCollection
        ├── AccessDeniedException ── AccessDenied, AnonymousDenied
        ├── IncompleteSignatureException ── IncompleteSignature
        ├── InvalidSignatureException ── InvalidScope, SignatureDoesNotMatch, SignatureExpired, SignatureTooEarly
        ├── ServiceUnavailable ── OtherLayout
        └── UnrecognizedClientException, InternalFailure, RequestEntityTooLargeException, UnknownOperationException ── InvalidAction

Subclasses of a named error carry its texts; the name on the wire is that of the class below the two bases.
"""

import string
from typing import ClassVar


class SQSError(ValueError):
    """An error as a client gets it: AWS's `name`, full `type`, older `code`, HTTP `status`, whose `fault`, and the `message`.

    A ValueError, so that pydantic looks at a whole request before one of its mistakes is answered.
    """

    namespace: ClassVar[str]
    name: ClassVar[str] = ""
    type: ClassVar[str] = ""
    code: ClassVar[str] = ""
    status: ClassVar[int] = 400
    fault: ClassVar[str] = "Sender"

    def __init_subclass__(cls, *, code: str | None = None, status: int | None = None) -> None:
        """Name the direct children of the two bases; what is below them keeps their name."""
        if "namespace" in vars(cls.__base__):
            cls.name = cls.__name__
            cls.type = f"{cls.namespace}#{cls.name}"
            cls.code = code or cls.__name__
        if status:
            cls.status = status
            cls.fault = "Sender" if status < 500 else "Receiver"  # noqa: PLR2004  # HTTP's server errors

    def __init__(self, *values: object) -> None:
        """Fill the text's placeholders, in their order."""
        self.values = values
        text = self.__doc__ or ""
        names = [name for _, name, _, _ in string.Formatter().parse(text) if name]
        self.message = text.format(**dict(zip(names, values, strict=True))) if names or values else text
        super().__init__(self.message)


class ModelledError(SQSError):
    """One of the errors in AWS's model of SQS."""

    namespace = "com.amazonaws.sqs"


class FrameworkError(SQSError):
    """One of the errors of Coral, AWS's framework."""

    namespace = "com.amazon.coral.service"


_SQS = "AWS.SimpleQueueService."


class BatchEntryIdsNotDistinct(ModelledError, code=_SQS + "BatchEntryIdsNotDistinct"):
    """Two or more batch entries in the request have the same Id."""


class RepeatedEntryId(BatchEntryIdsNotDistinct):
    """Id {id} repeated."""


class BatchRequestTooLong(ModelledError, code=_SQS + "BatchRequestTooLong"):
    """The batch is too long."""


class BatchTooLong(BatchRequestTooLong):
    """Batch requests cannot be longer than {limit} bytes. You have sent {size} bytes."""


class EmptyBatchRequest(ModelledError, code=_SQS + "EmptyBatchRequest"):
    """There should be at least one entry in the request."""


class NoEntries(EmptyBatchRequest):
    """There should be at least one {entry} in the request."""


class InvalidAddress(ModelledError, status=404):
    """The address {address} is not valid for this endpoint."""


class InvalidAttributeName(ModelledError):
    """The attribute is unknown."""


class UnknownAttribute(InvalidAttributeName):
    """Unknown Attribute {name}."""


class OnlyForFifoQueues(InvalidAttributeName):
    """You can specify the {name} only when FifoQueue is set to true."""


class TwoKindsOfEncryption(InvalidAttributeName):
    """You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE."""


class InvalidAttributeValue(ModelledError):
    """The value of an attribute is invalid."""


class InvalidValue(InvalidAttributeValue):
    """Invalid value for the parameter {name}."""


class QueueTypeIsFixed(InvalidAttributeValue):
    """Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."""


class LimitNeedsScope(InvalidAttributeValue):
    """The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup"""


class RedrivePolicyNotJson(InvalidAttributeValue):
    """Invalid value for the parameter RedrivePolicy. Reason: Redrive policy is not a valid JSON map."""


class RedriveAllowPolicyUnsupported(InvalidAttributeValue):
    """Invalid value for the parameter RedriveAllowPolicy. Reason: Amazon SQS can't create the redrive allow policy, \
as it’s in an unsupported format."""


class InvalidBatchEntryId(ModelledError, code=_SQS + "InvalidBatchEntryId"):
    """A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 \
letters long."""


class InvalidIdFormat(ModelledError):
    """The specified receipt handle is not valid for the current version."""


class InvalidMessageContents(ModelledError):
    """Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | \
#x10000 to #x10FFFF"""


class InvalidSecurity(ModelledError, status=403):
    """The request was not made over HTTPS or did not use SigV4 for signing."""


class KmsAccessDenied(ModelledError, code="KMS.AccessDeniedException"):
    """The caller does not have the required KMS access."""


class KmsDisabled(ModelledError, code="KMS.DisabledException"):
    """The KMS key is not enabled."""


class KmsInvalidKeyUsage(ModelledError, code="KMS.InvalidKeyUsageException"):
    """The KMS key cannot be used for this."""


class KmsInvalidState(ModelledError, code="KMS.InvalidStateException"):
    """The state of the KMS key does not allow this."""


class KmsNotFound(ModelledError, code="KMS.NotFoundException"):
    """The KMS key could not be found."""


class KmsOptInRequired(ModelledError, code="KMS.OptInRequired", status=403):
    """The KMS key needs a subscription."""


class KmsThrottled(ModelledError, code="KMS.ThrottlingException"):
    """KMS throttles its requests."""


class MessageNotInflight(ModelledError, code=_SQS + "MessageNotInflight"):
    """The specified message is not in flight."""


class OverLimit(ModelledError, status=403):
    """The action violates a limit."""


class TooManyInFlight(OverLimit):
    """Too many messages have been received without being deleted. Please delete your received messages or let them \
timeout before receiving more."""


class QueueFull(OverLimit):
    """The queue has {limit} messages or would have more, and this server lets it have no more (--max-messages). Receive \
and delete some, purge it, or send again later."""


class PolicyTooLong(OverLimit):
    """Submitted policy is over max allowed size."""


class TooManyInPermission(OverLimit):
    """{count} {what} were found, maximum allowed is {limit}."""


class TooManyInStatement(OverLimit):
    """{count} {what} were found in a statement from the submitted policy, max allowed is {limit}"""


class TooManySubmittedStatements(OverLimit):
    """{count} statements were found in the submitted policy, max allowed is {limit}"""


class PurgeQueueInProgress(ModelledError, code=_SQS + "PurgeQueueInProgress", status=403):
    """Only one PurgeQueue operation on {queue} is allowed every 60 seconds."""


class QueueDeletedRecently(ModelledError, code=_SQS + "QueueDeletedRecently"):
    """You must wait 60 seconds after deleting a queue before you can create another with the same name."""


class QueueDoesNotExist(ModelledError, code=_SQS + "NonExistentQueue"):
    """The specified queue does not exist."""


class QueueNameExists(ModelledError, code="QueueAlreadyExists"):
    """A queue already exists with the same name and a different value for attribute {attribute}"""


class ReceiptHandleIsInvalid(ModelledError, status=404):
    """The receipt handle is not valid."""


class InvalidReceiptHandle(ReceiptHandleIsInvalid):
    """The input receipt handle "{handle}" is not a valid receipt handle."""


class ReceiptHandleOfAnotherQueue(ReceiptHandleIsInvalid):
    """The receipt handle "{handle}" is not valid for this queue."""


class RequestThrottled(ModelledError, status=403):
    """The request was denied due to request throttling."""


class TooManyRequests(RequestThrottled, status=503):
    """This server answers {limit} requests at a time, and has as many (--max-requests). Send it again later."""


class TooManyWaiting(RequestThrottled, status=503):
    """{limit} long polls wait at this server, and it lets no more wait (--max-waiting). Receive again later."""


class ResourceNotFoundException(ModelledError, status=404):
    """The resource does not exist."""


class TaskDoesNotExist(ResourceNotFoundException):
    """Task does not exist."""


class ArnDoesNotExist(ResourceNotFoundException):
    """The resource that you specified for the {name} parameter doesn't exist."""


class TooManyEntriesInBatchRequest(ModelledError, code=_SQS + "TooManyEntriesInBatchRequest"):
    """The batch has too many entries."""


class TooManyEntries(TooManyEntriesInBatchRequest):
    """Maximum number of entries per request are 10. You have sent {count}."""


class UnsupportedOperation(ModelledError, code=_SQS + "UnsupportedOperation"):
    """This operation is not supported."""


class ListValuesNotSupported(UnsupportedOperation):
    """Message attribute list values in SendMessage operation are not supported."""


class AccessDeniedException(FrameworkError, code="AccessDenied", status=403):
    """Access is denied."""


class AccessDenied(AccessDeniedException):
    """User: {user} is not authorized to perform: {action} on resource: {resource} {reason}"""


class AnonymousDenied(AccessDeniedException):
    """Access to the resource {url} is denied."""


class IncompleteSignatureException(FrameworkError, code="IncompleteSignature"):
    """The signature is incomplete."""


class IncompleteSignature(IncompleteSignatureException):
    """{reason}"""


class InvalidSignatureException(FrameworkError, code="SignatureDoesNotMatch", status=403):
    """The signature is not good."""


class SignatureDoesNotMatch(InvalidSignatureException):
    """The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key \
and signing method. Consult the service documentation for details."""


class SignatureExpired(InvalidSignatureException):
    """Signature expired: {time} is now earlier than {earliest} ({now} - {patience}.)"""


class SignatureTooEarly(InvalidSignatureException):
    """Signature not yet current: {time} is still later than {latest} ({now} + 15 min.)"""


class InvalidScope(InvalidSignatureException):
    """{reason}"""


class UnrecognizedClientException(FrameworkError, code="InvalidClientTokenId", status=403):
    """The security token included in the request is invalid."""


class InternalFailure(FrameworkError, status=500):
    """questd made a mistake: its log has more under the id of this request."""


class InvalidParameterValueException(FrameworkError, code="InvalidParameterValue"):
    """A parameter is invalid."""


class AttemptNotRetryable(InvalidParameterValueException):
    """Value {value} for parameter ReceiveRequestAttemptId is invalid. Reason: The receiveRequestAttemptId is not valid \
anymore since the receive call is not retryable."""


class BatchedWithoutGroup(InvalidParameterValueException):
    """The request must contain the parameter MessageGroupId."""


class InvalidParameter(InvalidParameterValueException):
    """Value {value} for parameter {name} is invalid. Reason: {reason}"""


class RedrivePolicyInvalid(InvalidParameterValueException):
    """Value {value} for parameter RedrivePolicy is invalid. Reason: {reason}"""


class RedriveAllowPolicyInvalid(InvalidParameterValueException):
    """Value {value} for parameter RedriveAllowPolicy is invalid. Reason: Amazon SQS can't create the redrive allow \
policy. {reason}"""


class NoDeduplicationId(InvalidParameterValueException):
    """The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"""


class ReceiptHandleExpired(InvalidParameterValueException):
    """Value {handle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."""


class MessageNotAvailable(InvalidParameterValueException):
    """Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for \
visibility timeout change."""


class TotalVisibilityTimeoutBeyondLimit(InvalidParameterValueException):
    """Value {timeout} for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message \
is beyond the limit [43200 seconds]"""


class NotADeadLetterQueue(InvalidParameterValueException):
    """Source queue must be configured as a Dead Letter Queue."""


class TaskIsRunning(InvalidParameterValueException):
    """There is already a task running. Only one active task is allowed for a source queue arn at a given time."""


class InvalidTaskHandle(InvalidParameterValueException):
    """Value for parameter TaskHandle is invalid."""


class InvalidArn(InvalidParameterValueException):
    """You must use this format to specify the {name}: arn:<partition>:<service>:<region>:<account-id>:<resource-id>"""


class OutOfRange(InvalidParameterValueException):
    """Value for parameter {name} is invalid. Reason: You must enter a number that's between {low} and {high}."""


class MoveToItself(InvalidParameterValueException):
    """Source queue arn and destination queue arn cannot be the same."""


class MoveBetweenTypes(InvalidParameterValueException):
    """The source queue and destination queue must be of the same queue type."""


class InvalidQueueName(InvalidParameterValueException):
    """Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"""


class InvalidFifoQueueName(InvalidParameterValueException):
    """The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo \
suffix and be 1 to 80 in length."""


class EmptyQueueName(InvalidParameterValueException):
    """Queue name cannot be empty"""


class NoQueueName(InvalidParameterValueException):
    """Value for parameter QueueName is invalid. Reason: Must specify a queue name."""


class TooManyTags(InvalidParameterValueException):
    """Too many tags added for queue {queue}."""


class InvalidTagKey(InvalidParameterValueException):
    """Tag keys must be between 1 and 128 characters in length."""


class InvalidTagValue(InvalidParameterValueException):
    """Tag values must be between 0 and 256 characters in length."""


class InvalidTagKeyCharacters(InvalidParameterValueException):
    """Tag keys may only contain unicode letters, digits, whitespace, or one of these symbols: _ . : / = + - @"""


class InvalidTagValueCharacters(InvalidParameterValueException):
    """Tag values may only contain unicode letters, digits, whitespace, or one of these symbols: _ . : / = + - @"""


class ReservedTagKey(InvalidParameterValueException):
    """Tag keys must not begin with aws: which is reserved for AWS."""


class LabelExists(InvalidParameterValueException):
    """Value {label} for parameter Label is invalid. Reason: Already exists."""


class NoSuchLabel(InvalidParameterValueException):
    """Value {label} for parameter Label is invalid. Reason: {reason}"""


class InvalidPageSize(InvalidParameterValueException):
    """Value for parameter MaxResults is invalid. Reason: MaxResults must be an integer between 1 and 1000."""


class InvalidNextToken(InvalidParameterValueException):
    """Invalid or expired next token."""


class MessageTooLong(InvalidParameterValueException):
    """One or more parameters are invalid. Reason: Message must be shorter than {limit} bytes."""


class BatchedMessageTooLong(InvalidParameterValueException):
    """One or more parameters cannot be validated. Reason: Message must be shorter than {limit} bytes."""


class TooManyMessageAttributes(InvalidParameterValueException):
    """Number of message attributes [{count}] exceeds the allowed maximum [10]."""


class EmptyAttributeValue(InvalidParameterValueException):
    """Message ({kind}) attribute '{name}' must contain a non-empty value of type '{type}'."""


class NoAttributeValue(InvalidParameterValueException):
    """The message ({kind}) attribute '{name}' must contain a non-empty message attribute value."""


class NoAttributeType(InvalidParameterValueException):
    """The message ({kind}) attribute '{name}' must contain a non-empty message attribute type."""


class InvalidAttributeType(InvalidParameterValueException):
    """The type of message ({kind}) attribute '{name}' is invalid. You must use only the following supported type \
prefixes: Binary, Number, String."""


class AttributeNotANumber(InvalidParameterValueException):
    """Can't cast the value of message ({kind}) attribute '{name}' to a number."""


class WrongAttributeField(InvalidParameterValueException):
    """Message ({kind}) attribute '{name}' with type '{type}' must use field '{field}'."""


class TwoAttributeValues(InvalidParameterValueException):
    """Message ({kind}) attribute '{name}' must have a single value."""


class AttributeTypeTooLong(InvalidParameterValueException):
    """Message ({kind}) attribute type must be shorter than 256 bytes."""


class AttributeNameTooLong(InvalidParameterValueException):
    """Message ({kind}) attribute name must be shorter than 256 bytes."""


class EmptyAttributeName(InvalidParameterValueException):
    """The request must contain non-empty message ({kind}) attribute names."""


class InvalidAttributeCharacters(InvalidParameterValueException):
    """Message ({kind}) attributes name can only contain upper and lower score characters, digits, periods, hyphens \
and underscores."""


class AttributeNameBeginsWithDot(InvalidParameterValueException):
    """Message ({kind}) attribute name must not begin with character '.'."""


class AttributeNameEndsWithDot(InvalidParameterValueException):
    """Message ({kind}) attribute name must not end with character '.'."""


class AttributeNameWithSuccessiveDots(InvalidParameterValueException):
    """Message ({kind}) attribute name must not have successive '.' characters."""


class ReservedAttributeName(InvalidParameterValueException):
    """You can't use message attribute names beginning with 'AWS.' or 'Amazon'. These strings are reserved for \
internal use."""


class UnknownSystemAttribute(InvalidParameterValueException):
    """Message system attribute name '{name}' is invalid."""


class MissingRequiredParameterException(FrameworkError, code="MissingParameter"):
    """A parameter is missing."""


class MissingParameter(MissingRequiredParameterException):
    """The request must contain the parameter {name}."""


class RequestEntityTooLargeException(FrameworkError, code="RequestEntityTooLarge", status=413):
    """The body is over {limit} bytes."""


class SerializationException(FrameworkError, code="MalformedInput"):
    """The request is not one that this action can read."""


class UnconvertibleValue(SerializationException):
    """{value} can not be converted to {type}"""


class UnexpectedList(SerializationException):
    """Start of list found where not expected"""


class UnexpectedStructure(SerializationException):
    """Start of structure or map found where not expected."""


class UnrecognizedCollection(SerializationException):
    """Unrecognized collection type class java.lang.String"""


class ServiceUnavailable(FrameworkError, status=503):
    """{reason}"""


class OtherLayout(ServiceUnavailable):
    """The queue {name} is stored in layout {found}, and this questd knows layout {known}. Another version of questd made it: run that one."""


class UnknownOperationException(FrameworkError, code="InvalidAction"):
    """The action is not one of Amazon SQS."""


class InvalidAction(UnknownOperationException):
    """The action {name} is not valid for this endpoint."""


def from_redis(text: str) -> SQSError | None:
    """Return the error that a reply of Redis names with its first word, the others being its values."""
    name, *values = text.split(" ")
    error = globals().get(name)
    if isinstance(error, type) and issubclass(error, SQSError) and error.type:
        return error(*values)
    return None
