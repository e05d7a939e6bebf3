"""How many items a trial handles at once."""

from dataclasses import dataclass
from typing import Self

from raypeft.spec.sections import smaller_micro
from raypeft.spec.study import Study


@dataclass
class Batches:
    """Items handled at once: what the study asks for, made smaller where memory runs out.

    Attributes:
        batch: effective batch size, which never changes.
        micro: sequences a forward pass in training, a divisor of `batch`.
        decode: prompts searched together.
    """

    batch: int
    micro: int
    decode: int

    @classmethod
    def of(cls, study: Study, memory_kills: int = 0) -> Self:
        """What the study asks for, made smaller once for each time that the machine's memory ran out."""
        training = study.training
        batches = cls(training.batch, training.micro_batch or training.batch, study.test.decode_batch)
        for _ in range(memory_kills):
            batches.shrink_micro()
            batches.decode = max(1, batches.decode // 2)
        return batches

    @property
    def single(self) -> bool:
        """Whether no less can be handled at once."""
        return self.micro == self.decode == 1

    @property
    def accumulation(self) -> int:
        """Forward passes to one step of the optimiser."""
        return self.batch // self.micro

    def shrink_micro(self) -> bool:
        """Halve the micro-batch, or come as near to that as divides the batch; false when it is one item already."""
        if self.micro == 1:
            return False
        self.micro = smaller_micro(self.batch, self.micro)
        return True
