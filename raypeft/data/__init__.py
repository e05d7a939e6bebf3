"""Data: sources, prompts, encoding."""
