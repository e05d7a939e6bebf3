"""Batched beam search over a model or its adapter: one key-value cache for all that precedes the first new token."""

from raypeft.decoding.candidate import BeamSettings, Candidate
from raypeft.decoding.search import decode
from raypeft.decoding.stop import cut

__all__ = ["BeamSettings", "Candidate", "cut", "decode"]
