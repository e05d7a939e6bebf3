"""What has changed between two resolved versions of a study, and what of it a run adopts as it goes on."""

from raypeft.spec.resolve import ResolvedStudy

FREE = ("cpus_per_trial", "concurrent", "keep_checkpoints")
"""Resources that no result depends on; the others decide on precision, and on which trials run out of memory."""


def differences(old: ResolvedStudy, new: ResolvedStudy) -> list[str]:
    """Each key whose value differs, with both values, but those that a run adopts."""
    return _changes(_with_adopted(old, new), new)


def adopted(old: ResolvedStudy, new: ResolvedStudy) -> list[str]:
    """Each key that differs in a way that a run adopts: more trials a cell, and resources, with both values."""
    return _changes(old, _with_adopted(old, new))


def _with_adopted(old: ResolvedStudy, new: ResolvedStudy) -> ResolvedStudy:
    """The old version with what a run adopts of the new one."""
    trials = max(old.study.search.trials, new.study.search.trials)
    resources = {key: getattr(new.study.resources, key) for key in FREE}
    study = old.study.model_copy(
        update={
            "search": old.study.search.model_copy(update={"trials": trials}),
            "resources": old.study.resources.model_copy(update=resources),
        }
    )
    return old.model_copy(update={"study": study})


def _changes(old: ResolvedStudy, new: ResolvedStudy) -> list[str]:
    before, after = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    return [
        f"{key.removeprefix('study.')}: was {before.get(key, 'absent')}, is {after.get(key, 'absent')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, "absent") != after.get(key, "absent")
    ]


def _flat(content: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(content, dict):
        return {prefix: content}
    return {
        key: value
        for name, child in content.items()
        for key, value in _flat(child, f"{prefix}.{name}" if prefix else str(name)).items()
    }
