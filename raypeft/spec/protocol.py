"""Where the paper's text and its replication package differ, a key each."""

from typing import Annotated, Literal

from pydantic import Discriminator, Tag

from raypeft.spec.loading import Strict

Source = Literal["paper", "package"]
StopRule = Literal["candidate", "package"]
Point = Annotated[
    Annotated[Source, Tag("all")] | Annotated[dict[str, Source], Tag("each")],
    Discriminator(lambda value: "each" if isinstance(value, dict) else "all"),
]


class Protocol(Strict):
    """Which of the two a study follows; docs/studies.md says what each does.

    Attributes:
        point: whose hyperparameters each cell's first trial has, for all techniques or by a technique's name.
        test_prompt: `paper` prompts at test time as in training. `package` starts decoder prompts with one more
            newline, and for encoder-decoders drops the task prefix and appends `<extra_id_0>`.
        stop_rule: `candidate` ends each candidate at its own stop string. `package` ends an item's search only once
            all its running beams contain one.
    """

    point: Point = "paper"
    test_prompt: Source = "paper"
    stop_rule: StopRule = "candidate"

    def point_of(self, technique: str) -> Source:
        """Whose point a technique begins with."""
        return self.point.get(technique, "paper") if isinstance(self.point, dict) else self.point
