"""raypeft: hyperparameter studies of parameter-efficient fine-tuning for code models, on Ray Tune."""

__version__ = "0.1.0"
