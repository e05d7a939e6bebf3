"""What trials say, for tests."""

from typing import Any

from raypeft.runs.records import Message


def message(**said: Any) -> Message:
    """A message from the keys that are written of it."""
    return Message.received(said)


class Said(list[dict[str, Any]]):
    """The messages of a trial, as they are written."""

    def hear(self, said: Message) -> None:
        """Take the next one."""
        self.append(said.content())
