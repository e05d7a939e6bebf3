"""The model hub: the one place that talks to it, on top of huggingface_hub and its cache.

`HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`, `HF_HUB_OFFLINE` and the time-outs are the library's own settings. What is in the
cache is used as it is, without a request.
"""

from raypeft.hub.faults import HubError, Kind
from raypeft.hub.repository import (
    Listing,
    access,
    cached_commit,
    cached_snapshot,
    dataset_snapshot,
    hub_file,
    model_snapshot,
)

__all__ = [
    "HubError",
    "Kind",
    "Listing",
    "access",
    "cached_commit",
    "cached_snapshot",
    "dataset_snapshot",
    "hub_file",
    "model_snapshot",
]
