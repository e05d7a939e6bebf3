"""Models: loading, adapters, memory."""
