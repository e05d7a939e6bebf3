"""What a beam search is asked for and what it returns."""

from dataclasses import dataclass

from raypeft.errors import UserError
from raypeft.spec.protocol import StopRule


@dataclass(frozen=True)
class Candidate:
    """One continuation of a prompt.

    Attributes:
        text: the continuation without special tokens, cut at the end of sequence and at the stop strings.
        score: sum of the log-probabilities of the generated tokens divided by their number, the token that ended the
            candidate included in both (the beam score of transformers at length penalty 1).
    """

    text: str
    score: float


@dataclass(frozen=True)
class BeamSettings:
    """How to search.

    Attributes:
        beams: hypotheses kept at each step, at least 2.
        candidates: continuations returned for each prompt, at most ``beams``.
        max_new_tokens: tokens after which a candidate ends in any case.
        stop_strings: texts at which a candidate's text is cut; the prompt's text does not count.
        stop_rule: `candidate` ends each candidate by itself as soon as its tokens complete a stop string. `package`
            ends no candidate at a stop string but the search of its prompt once all running beams contain one, literal
            end-of-sequence markers included; the text is stripped of white space at both ends before it is cut.
        end_ids: tokens that end a candidate beside the model's own end-of-sequence tokens.

    Raises:
        UserError: if a number is out of range or a stop string is empty.
    """

    beams: int = 10
    candidates: int = 10
    max_new_tokens: int = 64
    stop_strings: tuple[str, ...] = ()
    stop_rule: StopRule = "candidate"
    end_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        problems = []
        if self.beams < 2:
            problems.append(f"beams is {self.beams}, but must be at least 2")
        if not 1 <= self.candidates <= self.beams:
            problems.append(f"candidates is {self.candidates}, but must be between 1 and beams ({self.beams})")
        if self.max_new_tokens < 1:
            problems.append(f"max_new_tokens is {self.max_new_tokens}, but must be at least 1")
        if "" in self.stop_strings:
            problems.append("stop_strings has an empty string")
        if problems:
            raise UserError("\n".join(problems), where="beam search settings")
