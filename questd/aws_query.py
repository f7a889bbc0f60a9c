"""The Query protocol: an action out of a form or a query string, and results and errors as XML (contract 1.3).

Members become the JSON that the same action takes in the other protocol, so nothing is checked twice.
"""

import re
from binascii import a2b_qp
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import to_json

from questd import errors, localstack, message_attributes
from questd.action import Action, Gate, validated
from questd.actions import named
from questd.batches import BatchAction
from questd.request import Request

XML = "text/xml"
NAMESPACE = "http://queue.amazonaws.com/doc/2012-11-05/"

FIELDS = 10_000
"""Parameters of a request at most: a batch of ten with ten attributes each needs fewer than a thousand."""

NOT_ON_A_QUEUE = frozenset({"CreateQueue", "ListQueues"})
"""Actions that the path of a queue does not have (contract 1.3.6)."""

NO_QUEUE = "The specified queue does not exist for this wsdl version."
"""The one text that differs from the other protocol's (contract 1.3.5)."""

LISTS = {
    "AWSAccountIds": "AWSAccountId",
    "Actions": "ActionName",
    "AttributeNames": "AttributeName",
    "BinaryListValues": "BinaryListValue",
    "MessageAttributeNames": "MessageAttributeName",
    "MessageSystemAttributeNames": "MessageSystemAttributeName",
    "StringListValues": "StringListValue",
    "TagKeys": "TagKey",
}
MAPS = {
    "Attributes": ("Attribute", "Name"),
    "MessageAttributes": ("MessageAttribute", "Name"),
    "MessageSystemAttributes": ("MessageSystemAttribute", "Name"),
    "Tags": ("Tag", "Key"),
    "tags": ("Tag", "Key"),
}
"""How the elements of lists and maps are called, and the keys of maps. The member's own name is taken too."""

VALUE = tuple(message_attributes.MessageAttributeValue.model_fields)

RESULTS = {
    "Failed": "BatchResultErrorEntry",
    "Messages": "Message",
    "QueueUrls": "QueueUrl",
    "queueUrls": "QueueUrl",
    "Results": "ListMessageMoveTasksResultEntry",
}
"""How the elements of lists in results are called; those of Successful have the action's name in theirs."""

BROKEN = re.compile(rb"%(?![0-9A-Fa-f]{2})")

Tree = dict[str, Any]
"""Parameters by the parts of their names; a value has the empty name."""


def parameters(request: Request) -> dict[str, str]:
    """Return the parameters of a request: of its query string and, in a POST, of its body."""
    texts = [request.target.partition("?")[2].encode()]
    if request.method == "POST":
        texts.append(request.body)
    if sum(text.count(b"&") for text in texts) > FIELDS:
        raise errors.SerializationException
    pairs = [part.partition(b"=") for text in texts for part in text.split(b"&") if part]
    found = {"Action": "ReceiveMessage"} if request.peeks else {}
    return found | {_decoded(name): _decoded(value) for name, _, value in pairs}


def _decoded(text: bytes) -> str:
    """Return a name or a value as it is meant. Eight MiB of `%` take urllib ten seconds, and quoted-printable none."""
    if b"+" in text:
        text = text.replace(b"+", b" ")
    if b"%" in text:
        if BROKEN.search(text):
            raise errors.SerializationException
        text = a2b_qp(text.replace(b"=", b"=3D").replace(b"%", b"="))
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise errors.SerializationException from error


def action_of(request: Request, gate: Gate | None) -> Action | None:
    """Return the action that a request asks for, validated; None when it asks for none.

    Raises what AWS answers to a wrong one. Who is known already (console.py) need not have signed.
    """
    given = parameters(request)
    if "Action" not in given:
        return None
    if gate and not request.principal:
        gate.identify(request)
    name = given["Action"]
    action = named(name, request)
    if action is None or (request.queue and name in NOT_ON_A_QUEUE):
        raise errors.InvalidAction(name)
    request.action = name
    tree = _tree(given)
    entry = action.entry_model if issubclass(action, BatchAction) else None
    members = _members(tree, action.model_fields, entry.model_fields if entry else (), entry.__name__ if entry else "")
    if request.queue and "QueueUrl" in action.model_fields:
        members.setdefault("QueueUrl", request.queue)
    return validated(action, to_json(members), request)


def _tree(given: Mapping[str, str]) -> Tree:
    tree: Tree = {}
    for name, value in given.items():
        node = tree
        parts = name.split(".", 8)
        if "" in parts:  # it names nothing
            continue
        for part in parts:
            node = node.setdefault(part, {})
        node[""] = value
    return tree


def _members(tree: Tree, names: Iterable[str], entry: Iterable[str] = (), entry_name: str = "") -> dict[str, Any]:
    """Return those of `names` that a tree has, as the JSON protocol has them."""
    members: dict[str, Any] = {}
    for name in names:
        if name in LISTS:
            found: Any = [node.get("") for node in _numbered(tree, LISTS[name], name)]
        elif name in MAPS:
            element, key = MAPS[name]
            nodes = _numbered(tree, element, name)
            found = {node.get(key, {}).get("", ""): _value(node.get("Value", {})) for node in nodes}
        elif name == "Entries":
            found = [_members(node, entry) for node in _numbered(tree, entry_name, name)]
        else:
            found = tree.get(name, {}).get("")
        if found or isinstance(found, str) or name == "Entries" or _is_empty(tree, name):
            members[name] = found
    return members


def _is_empty(tree: Tree, name: str) -> bool:
    """Say whether a list is given without elements: by its bare name."""
    return name in LISTS | MAPS and name in tree and not any(part.isdecimal() for part in tree[name])


def _value(node: Tree) -> Any:  # noqa: ANN401  # it is JSON
    return node[""] if "" in node else _members(node, VALUE)


def _numbered(tree: Tree, element: str, member: str) -> list[Tree]:
    """Return the elements of a list or map in the order of their numbers; one without a number is the only one."""
    nodes: dict[int, Tree] = {}
    for name in (member, f"{element}s", element):
        parts = tree.get(name, {})
        nodes |= {int(part): node for part, node in parts.items() if re.fullmatch("[0-9]{1,9}", part)}
        if not nodes and (parts.keys() & {"Name", "Key"} or parts.get("")):
            return [parts]
    return [nodes[number] for number in sorted(nodes)]


def result_parts(action: Action, result: dict[str, Any] | None, request: Request, request_id: str) -> tuple[str, bytes]:
    """Return the type and the body of a success."""
    name = type(action).__name__
    if _wants_json(request) and not request.peeks:
        content = {} if result is None else {f"{name}Result": _named(result)}
        body = {f"{name}Response": content | {"ResponseMetadata": {"RequestId": request_id}}}
        return "application/json", to_json(body)
    inner = "" if result is None else _element(f"{name}Result", _children(result, name))
    metadata = _element("ResponseMetadata", _element("RequestId", request_id))
    document = _document(f"{name}Response", inner + metadata)
    return ("application/json", localstack.as_json(document)) if _wants_json(request) else (XML, document)


def error_parts(error: errors.SQSError, request: Request, request_id: str) -> tuple[str, bytes, dict[str, str]]:
    """Return the type, the body and more headers of an error."""
    message = NO_QUEUE if isinstance(error, errors.QueueDoesNotExist) else error.message
    parts = {"Type": error.fault, "Code": error.code, "Message": message}
    if _wants_json(request):
        return "application/json", to_json({"Error": parts | {"Detail": None}, "RequestId": request_id}), {}
    content = "".join(_element(name, _escaped(text)) for name, text in parts.items()) + "<Detail/>"
    return XML, _document("ErrorResponse", _element("Error", content) + _element("RequestId", request_id)), {}


def _wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")


def _named(value: object) -> object:
    """Return a result with maps as lists of names and values (contract 1.3.7)."""
    if isinstance(value, list):
        return [_named(one) for one in value]
    if not isinstance(value, dict):
        return value
    named: dict[str, object] = {}
    for name, member in value.items():
        if name in MAPS:
            key = MAPS[name][1]
            named[name] = [{key: one, "Value": _named(text)} for one, text in member.items()]
        else:
            named["messages" if name == "Messages" else name] = _named(member)
    return named


def _document(name: str, content: str) -> bytes:
    return f'<?xml version="1.0"?><{name} xmlns="{NAMESPACE}">{content}</{name}>'.encode()


def _element(name: str, content: str) -> str:
    return f"<{name}>{content}</{name}>" if content else f"<{name}/>"


def _children(value: dict[str, Any], action: str) -> str:
    """Return the elements of a structure: lists and maps flattened, each element by its own name."""
    parts: list[str] = []
    for name, member in value.items():
        if name in MAPS:
            element, key = MAPS[name]
            for one, text in member.items():
                content = _children(text, action) if isinstance(text, dict) else _escaped(text)
                parts.append(_element(element, _element(key, _escaped(one)) + _element("Value", content)))
        elif isinstance(member, list):
            element = RESULTS.get(name, f"{action}ResultEntry")
            parts += [
                _element(element, _children(one, action) if isinstance(one, dict) else _escaped(one)) for one in member
            ]
        else:
            parts.append(_element(name, _escaped(member)))
    return "".join(parts)


ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#xD;"})
"""A carriage return written as itself would be read as a line feed (contract 1.3.4)."""


def _escaped(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    text = message_attributes.FORBIDDEN.sub("\ufffd", text)
    return text.translate(ESCAPES)
