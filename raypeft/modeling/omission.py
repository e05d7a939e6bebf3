"""Leaving out what a study does not need; imported before peft, and imports nothing large itself."""

import sys

from raypeft.spec.resolve import ResolvedStudy


def omit_bitsandbytes(resolved: ResolvedStudy) -> None:
    """Keep peft from loading bitsandbytes in a worker of a study that quantises nothing.

    peft loads it wherever it is installed, which takes a third of the time that a worker needs to begin. A name that is
    None in `sys.modules` cannot be imported, and counts as not installed.
    """
    if all(technique.quantization is None for technique in resolved.techniques.values()):
        sys.modules.setdefault("bitsandbytes", None)  # type: ignore[arg-type]
