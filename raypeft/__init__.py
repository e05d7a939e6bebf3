"""raypeft: hyperparameter studies of parameter-efficient fine-tuning for code models, on Ray Tune."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raypeft.api import Run, Study

__version__ = "0.1.0"
__all__ = ["Run", "Study", "__version__"]


def __getattr__(name: str) -> Any:
    """The public API, loaded when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'raypeft' has no attribute {name!r}")
    from raypeft import api

    return getattr(api, name)
