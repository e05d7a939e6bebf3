"""Where the paper's text and its replication package differ, a key each."""

from typing import Literal

from raypeft.spec.loading import Strict

StopRule = Literal["candidate", "package"]


class Protocol(Strict):
    """Which of the two a study follows; docs/studies.md says what each does.

    Attributes:
        test_prompt: `paper` prompts at test time as in training. `package` starts decoder prompts with one more
            newline, and for encoder-decoders drops the task prefix and appends `<extra_id_0>`.
        stop_rule: `candidate` ends each candidate at its own stop string. `package` ends an item's search only once
            all its running beams contain one.
    """

    test_prompt: Literal["paper", "package"] = "paper"
    stop_rule: StopRule = "candidate"
