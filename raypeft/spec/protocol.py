"""Where the paper's text and its replication package differ, a key each."""

from typing import Annotated, Literal

from pydantic import Discriminator, Tag

from raypeft.spec.loading import Strict
from raypeft.spec.values import Name, Short

Source = Literal["paper", "package"]
StopRule = Literal["candidate", "package"]
PromptStyle = Literal["instruction", "chat"]
Truncation = Literal["intent", "package"]
Point = Annotated[
    Annotated[Source, Tag("all")] | Annotated[dict[Name, Source], Short, Tag("each")],
    Discriminator(lambda value: "each" if isinstance(value, dict) else "all"),
]


class Protocol(Strict):
    """Which of the two a study follows; docs/studies.md says what each does.

    Attributes:
        point: whose hyperparameters each cell's first trial has, for all techniques or by a technique's name.
        stop_rule: `candidate` ends each candidate at its own stop string. `package` ends an item's search only once
            all its running beams contain one.
        prompt_style: of all models; nothing means each model's own in the catalogue.
        response_header: what precedes the code, `### Response:` (the paper's table 2) or `### Answer:` (its text).
        task_prefix: `package` begins encoder-decoder prompts with `Generate Python code: `, `paper` does not.
        test_prompt: `paper` prompts at test time as in training. `package` starts decoder prompts with one more
            newline, and for encoder-decoders drops the task prefix and appends `<extra_id_0>`.
        icl_prompt: `package` begins prompts with examples by a line that says what is asked, `paper` does not.
        truncation: what of an item over the token limits goes. `intent` shortens the intent and leaves the template
            whole, in training and at test time; a target loses its end. `package` cuts training prompts at their end,
            template included, and never test prompts; a target keeps its end-of-sequence token.
        padding: of training batches, `dynamic` to the longest of the batch, `full` to the token limits.
    """

    point: Point = "paper"
    stop_rule: StopRule = "candidate"
    prompt_style: PromptStyle | None = None
    response_header: Literal["response", "answer"] = "response"
    task_prefix: Source = "package"
    test_prompt: Source = "paper"
    icl_prompt: Source = "package"
    truncation: Truncation = "intent"
    padding: Literal["dynamic", "full"] = "dynamic"

    def point_of(self, technique: str) -> Source:
        """Whose point a technique begins with."""
        return self.point.get(technique, "paper") if isinstance(self.point, dict) else self.point

    def style_of(self, own: PromptStyle) -> PromptStyle:
        """How a model is prompted whose own style this is."""
        return self.prompt_style or own
