"""How much a trial handles at once."""

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
        checkpointing: whether training computes activations again instead of keeping them.
    """

    batch: int
    micro: int
    decode: int
    checkpointing: bool = False

    @classmethod
    def of(cls, study: Study, memory_kills: int = 0) -> Self:
        """What the study asks for, made smaller once for each time that the machine's memory ran out."""
        training = study.training
        micro = training.micro_batch or training.batch
        batches = cls(training.batch, micro, study.test.decode_batch, training.gradient_checkpointing)
        for _ in range(memory_kills):
            batches.train_with_less()
            batches.decode = max(1, batches.decode // 2)
        return batches

    @property
    def least(self) -> bool:
        """Whether no less can be handled at once."""
        return self.micro == self.decode == 1 and self.checkpointing

    @property
    def accumulation(self) -> int:
        """Forward passes to one step of the optimiser."""
        return self.batch // self.micro

    def train_with_less(self, *, may_checkpoint: bool = True) -> bool:
        """Take the next rung down in training; false where there is none.

        First the micro-batch is halved, or comes as near to that as divides the batch, down to one item; then
        activations are computed again instead of kept.
        """
        if self.micro > 1:
            self.micro = smaller_micro(self.batch, self.micro)
            return True
        if may_checkpoint and not self.checkpointing:
            self.checkpointing = True
            return True
        return False

    def take_no_more_than(self, other: "Batches") -> None:
        """Come down to what another could handle."""
        self.micro, self.decode = min(self.micro, other.micro), min(self.decode, other.decode)
        self.checkpointing |= other.checkpointing
