"""What a study costs that is killed again and again: ends it as an undisturbed one ends, and compares the two.

    python -m benchmarks.recovery --driver 30 --worker 30 --seed 2026 --folder /tmp/recovery

Run from the checkout. Two cells of the embedded decoder with five trials each, one at a time. The run that is killed
keeps the best checkpoint of each cell alone, the other all. Kills of the driver are SIGKILL, SIGINT and SIGTERM in
turn, those of workers SIGKILL, in an order and at moments drawn from the seed. Trials, reports, selections with the
digests of their weights, predictions and tables must be the same to the last bit, and a trial may never go on from
before its last report. The figures are printed as JSON.
"""

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path

from benchmarks.disturbed import Disturbed, attempts, outcome

TECHNIQUES = ("lora", "ia3")
SETTINGS = ("search.trials=5",)


def main() -> None:
    """Run both studies and print what the kills have cost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--driver", type=int, default=30, help="kills of the driver")
    parser.add_argument("--worker", type=int, default=30, help="kills of workers")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--folder", type=Path, required=True, help="a new folder for both runs")
    wanted = parser.parse_args()
    calm = Disturbed(wanted.folder / "calm", TECHNIQUES, SETTINGS)
    disturbed = Disturbed(wanted.folder / "disturbed", TECHNIQUES, (*SETTINGS, "resources.keep_checkpoints=best"))
    seconds = []
    for run in (calm, disturbed):
        began = time.monotonic()
        if run is disturbed:
            run.disturb(wanted.seed, wanted.driver, wanted.worker)
        else:
            run.finish()
        seconds.append(round(time.monotonic() - began))
    expected, found = outcome(calm.run), outcome(disturbed.run)
    names = [row.trial for row in disturbed.run.trials()]
    known = [[numbers for numbers in attempts(disturbed.run, name) if numbers] for name in names]
    figures = {
        **vars(disturbed.figures),
        "seconds": dict(zip(("undisturbed", "disturbed"), seconds, strict=True)),
        "trials": len(names),
        "trials_twice": len(names) - len(set(names)),
        "reports": len(found["order"]),
        "attempts": sum(map(len, known)),
        "reports_taken_back": sum(
            max(0, before[-1] - after[0]) for trial in known for before, after in pairwise(trial)
        ),
        "equal": {key: expected[key] == found[key] for key in expected},
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
