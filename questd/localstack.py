"""What users of LocalStack know: `/_aws/sqs/messages`, where a ReceiveMessage shows messages and receives none."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar
from xml.etree import ElementTree as ET

from pydantic import BeforeValidator
from pydantic_core import to_json

from questd import receive
from questd.action import Action, Questd
from questd.peek import Look, Peeked, State, peek
from questd.request import Request

MOST = 1000
"""Messages in one answer at most, or so many as ten megabytes hold; LocalStack has no limit."""

Flag = Annotated[bool, BeforeValidator(lambda value: str(value).lower() in {"true", "1"})]


class ReceiveMessage(receive.ReceiveMessage):
    """Show the messages that are visible, others too when asked for; all is as it was."""

    function: ClassVar[str] = ""

    ShowInvisible: Flag = False
    ShowDelayed: Flag = False

    async def __call__(self, questd: Questd, _request: Request) -> dict[str, Any]:
        """Return them with all their attributes, whatever else the request says."""
        invisible: list[State] = ["inflight"] if self.ShowInvisible else []
        delayed: list[State] = ["delayed"] if self.ShowDelayed else []
        page = await peek(questd, self.QueueUrl, Look(["visible", *invisible, *delayed], limit=MOST))
        return {"Messages": [self._marked(peeked) for peeked in page.messages]} if page.messages else {}

    def _marked(self, peeked: Peeked) -> dict[str, Any]:
        if self.ShowInvisible:
            peeked.message["Attributes"]["IsVisible"] = str(peeked.state != "inflight").lower()
        if self.ShowDelayed:
            peeked.message["Attributes"]["IsDelayed"] = str(peeked.state == "delayed").lower()
        return peeked.message


ACTIONS: Mapping[str, type[Action]] = {"ReceiveMessage": ReceiveMessage}
"""What can be asked for there."""


def as_json(document: bytes) -> bytes:
    """Return an answer in XML as LocalStack's JSON: members named as elements, a list where there are two or more."""
    root = ET.fromstring(document)  # noqa: S314  # our own
    return to_json({_name(root): _value(root)})


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _value(element: ET.Element) -> Any:  # noqa: ANN401  # it is JSON
    children: dict[str, list[Any]] = {}
    for child in element:
        children.setdefault(_name(child), []).append(_value(child))
    if not children:
        return element.text
    return {name: found if len(found) > 1 else found[0] for name, found in children.items()}
