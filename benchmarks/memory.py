"""Estimated against measured peak memory of a trial, in training and in decoding.

    python -m benchmarks.memory                      # models of random weights, on a GPU Code Llama 7B among them
    python -m benchmarks.memory --model FOLDER       # a model of your own
    python -m benchmarks.memory --grid small         # two of them
    python -m benchmarks.memory --grid large         # a model of a billion weights
    python -m benchmarks.memory --grid limits        # on a GPU: whether what the plan says fits a smaller card does
    python -m benchmarks.memory --under COMMAND      # on a CPU: whether it fits into less memory than the machine has

Every trial runs in a process of its own: the paper's point of a technique, items that all reach the token limits, two
steps of training and a beam search over two batches of eight items before and after. On a GPU the measured numbers are
what torch allocated, to which CUDA's own is added; on a CPU the resident memory of the process. `framework` is what the
process had before the model was loaded: estimates take a constant for it, so that the last two columns also compare
without.

`--under` gives each trial the least memory of which the plan says that it fits with the row's batches: COMMAND starts
the trial and ends it when it takes more than {mib} MiB, as `systemd-run --scope --quiet -p MemoryMax={mib}M` does. What
did not fit is marked WRONG, and the exit code is 1.
"""

import argparse
import json
import math
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.memory_grids import GRIDS
from benchmarks.memory_trial import plan_of, write_data
from raypeft.estimate.footprint import USABLE, footprint
from raypeft.estimate.memory import MIB

ROOT = Path(__file__).parents[1]
# Exit codes of a process that was killed, and what a trial that did not fit came to
KILLED, FAILED = (-9, 137), ("oom", "killed")
HEADING = (
    "model            technique      settings                     phase      estimated  measured    error "
    "| framework  without it  most by"
)
LIMITS_HEADING = "model            technique      settings                     plan says               came to"


def main() -> None:
    """Measure a grid and print a line a trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grid", choices=GRIDS, help="default: gpu where there is one, else cpu")
    parser.add_argument("--model", type=Path, help="a model folder instead of the grid's")
    parser.add_argument("--techniques", nargs="+", help="of the grid only these; with --model, default: lora")
    parser.add_argument("--set", nargs="*", default=[], help="further settings of the study")
    parser.add_argument("--made", type=Path, help="folder in which the grid's models are kept for the next time")
    parser.add_argument("--under", type=shlex.split, help="command that holds a trial to {mib} MiB of the CPU's memory")
    asked = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as work:
        if asked.model:
            grid = [(str(asked.model), technique, ()) for technique in asked.techniques or ["lora"]]
        else:
            grid = GRIDS[asked.grid or default_grid()]
            grid = [row for row in grid if row[1] in (asked.techniques or [row[1]])]
        limits = asked.grid == "limits"
        print(LIMITS_HEADING if limits else HEADING)
        for model, technique, settings in grid:
            folder = Path(model) if Path(model).is_dir() else (asked.made or Path(work)) / model
            found = trial(folder, technique, (*settings, *asked.set), Path(work), asked.under)
            limited = limits or (asked.under and found["came_to"] in FAILED)
            printed = (limit_lines if limited else lines)(folder.name, technique, (*settings, *asked.set), found)
            wrong += sum(line.endswith("WRONG") for line in printed)
            print("\n".join(printed), flush=True)
    sys.exit(min(wrong, 1))


def default_grid() -> str:
    """`gpu` where torch sees one."""
    return run("-c", "import torch; print('gpu' if torch.cuda.is_available() else 'cpu')").strip()


def lines(model: str, technique: str, settings: tuple[str, ...], found: dict[str, Any]) -> list[str]:
    """Two lines: training and decoding."""
    if found["came_to"] == "oom":
        raise RuntimeError(f"{model} {technique}: out of memory")
    rows = []
    for phase in ("training", "decoding"):
        estimated, measured = found["estimated"][phase], found["measured"][phase]
        bare_estimate = estimated - found["framework_estimated"]
        bare = measured - found["framework"]
        rows.append(
            f"{model[:16]:16} {technique:14} {' '.join(settings)[:28]:28} {phase:9} {estimated:10.0f} "
            f"{measured:9.0f} {estimated / measured - 1:8.1%} | {found['framework']:9.0f} "
            f"{bare_estimate / bare - 1:11.1%}  {found['largest']}"
            + (f", {found['fits']} in {found['limit']} MiB" if found["limit"] else "")
        )
    return rows


def limit_lines(model: str, technique: str, settings: tuple[str, ...], found: dict[str, Any]) -> list[str]:
    """One line: what the plan says of a limit, and what a trial under it came to."""
    words = " ".join(settings).replace("resources.gpu_memory_gb", "GiB")
    verdict = "  WRONG" if found["came_to"] in FAILED and found["fits"] != "no" else ""
    return [f"{model[:16]:16} {technique:14} {words[:28]:28} {found['fits']:23} {found['came_to']}{verdict}"]


def trial(
    folder: Path, technique: str, settings: tuple[str, ...], work: Path, under: list[str] | None = None
) -> dict[str, Any]:
    """Measure one trial in a fresh process; a model of `MODELS` is made first, in another.

    Args:
        folder: the model's.
        technique: its name.
        settings: of the study.
        work: folder for data and checkpoints.
        under: command that holds the process to `{mib}` MiB, the least that the plan says it fits into.
    """
    if not folder.is_dir():
        run("-c", f"from benchmarks.memory_trial import make; make({folder.name!r}, {str(folder)!r})")
    data = work / "data"
    write_data(data)
    asked: dict[str, Any] = {"model": str(folder), "technique": technique, "data": str(data)}
    limit = None
    if under is not None:
        settings = (*settings, "resources.gpus_per_trial=0")
        plan = plan_of(**asked, settings=list(settings))
        found = footprint(plan, plan.cells[0])
        assert found is not None
        limit = math.ceil(found.estimate.peak / USABLE["cpu"] / MIB)
        settings = (*settings, f"resources.gpu_memory_gb={limit / 1024}")
    arguments = json.dumps({**asked, "settings": list(settings), "output": str(work / "trial")})
    try:
        printed = run(
            "-m", "benchmarks.memory_trial", arguments, under=[word.format(mib=limit) for word in under or []]
        )
    except MemoryError:
        return {"came_to": "killed", "fits": f"yes in {limit} MiB"}
    return {**json.loads(printed.splitlines()[-1]), "limit": limit}


def run(*arguments: str, under: Sequence[str] = ()) -> str:
    """Output of Python in a process of its own, started by another command where one is given."""
    done = subprocess.run([*under, sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT)
    if under and done.returncode in KILLED:
        raise MemoryError
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


if __name__ == "__main__":
    main()
