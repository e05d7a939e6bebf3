"""The precision that a run's models compute in, told before any is loaded."""

from raypeft.errors import UserError
from raypeft.files import read_json
from raypeft.hardware import capabilities
from raypeft.hub import cached_snapshot
from raypeft.run import Run
from raypeft.spec.catalogue import ModelEntry
from raypeft.spec.identity import precision_of
from raypeft.spec.plan import Plan
from raypeft.spec.precision import Effective, foreseen_precision


def precisions(plan: Plan, *, elsewhere: bool) -> dict[str, Effective | None]:
    """What each model computes in, none where it cannot be told before a trial runs.

    Args:
        plan: the plan.
        elsewhere: whether trials may run on other machines than this one.
    """
    resolved = plan.resolved
    on_gpus, precision = resolved.study.resources.gpus_per_trial > 0, resolved.study.training.precision
    found = (None if elsewhere else capabilities()) if on_gpus else []
    return {
        name: foreseen_precision(precision, _model_type(name, entry), found) for name, entry in resolved.models.items()
    }


def check_precision(run: Run, *, elsewhere: bool = False) -> None:
    """Raise where a run would go on in another precision than it has computed in, as far as that can be told.

    Args:
        run: its manifest is written.
        elsewhere: whether trials may run on other machines than this one.

    Raises:
        UserError: `training.precision: auto` comes to another one on this machine.
    """
    manifest = run.manifest()
    if "precision" not in manifest:
        return
    wrong = [
        f"{name} has computed in {known} in this run, and would go on in {here} here"
        for name, here in precisions(run.plan, elsewhere=elsewhere).items()
        if here and (known := precision_of(run.plan, manifest, name)) and known != here
    ]
    if wrong:
        raise UserError(
            "\n".join(wrong),
            where=str(run.folder),
            hint="Go on with it on a machine as before, or start anew with --fresh or another --out.",
        )


def _model_type(name: str, entry: ModelEntry) -> str | None:
    """What transformers calls the architecture, by the model's configuration where it is here."""
    try:
        folder = entry.path(f"catalogue.models.{name}.folder") or cached_snapshot(str(entry.hub), entry.revision)
    except UserError:
        return None
    config = read_json(folder / "config.json") if folder else None
    return config.get("model_type") if isinstance(config, dict) else None
