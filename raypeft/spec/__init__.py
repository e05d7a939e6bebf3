"""Specifications: studies, techniques, the catalogue, plans. Pure data, no torch, no ray."""
