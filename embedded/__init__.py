"""Builds what `raypeft.embedded` ships: the data set `snippets` and the two tiny pretrained models."""
