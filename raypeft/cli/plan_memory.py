"""Estimated memory in what `raypeft study NAME --plan` prints."""

from collections.abc import Mapping, Sequence

from raypeft.estimate.footprint import Footprint, device_of, footprint
from raypeft.estimate.memory import GIB
from raypeft.spec.plan import Cell, Plan


class MemoryColumns:
    """Columns of the table of cells, and what is to be said below it."""

    def __init__(self, plan: Plan) -> None:
        self.limit = plan.resolved.study.resources.gpu_memory_gb
        self.device = device_of(plan.resolved.study.resources)
        self.found: dict[Cell, Footprint | None] = {cell: footprint(plan, cell) for cell in plan.cells}

    @property
    def names(self) -> list[str]:
        """Headings."""
        return ["train GiB", "decode GiB", "most by", *([] if self.limit is None else [f"fits {self.limit:g} GiB"])]

    def of(self, cell: Cell) -> list[str]:
        """Estimated peaks of training and decoding, what takes most, and whether it fits."""
        found = self.found[cell]
        if found is None:
            return ["?", "?", "model unknown", *([] if self.limit is None else ["?"])]
        about = "~" if found.rough else ""
        sizes = [about + gib(terms) for terms in (found.estimate.training, found.estimate.decoding)]
        fits = [] if found.fits is None else [found.fits.upper() if found.fits == "no" else found.fits]
        return [*sizes, found.estimate.largest, *fits]

    @property
    def remarks(self) -> Sequence[str]:
        """One line each."""
        where = "a GPU" if self.device == "gpu" else "a CPU"
        lines = [f"Memory     estimated for {where}, the largest trial of each cell with all items at the token limits"]
        found = self.found.values()
        if any(footprint and footprint.rough for footprint in found):
            lines.append("           ~ from the number of weights alone: the model has no shape in the catalogue")
        if any(footprint is None for footprint in found):
            lines.append("           ? neither shape nor number of weights of the model is known")
        fits = [footprint.fits for footprint in found if footprint]
        if any(fit not in (None, "yes", "no") for fit in fits):
            lines.append("           smaller batches are found by the trial itself; the effective batch stays")
        if unfit := fits.count("no"):
            lines.append(
                f"           NO: not even one item at a time, so {unfit} of {len(fits)} cells would end as oom"
            )
        return lines


def gib(terms: Mapping[str, float]) -> str:
    """The sum of the terms in GiB."""
    return f"{sum(terms.values()) / GIB:.1f}"
