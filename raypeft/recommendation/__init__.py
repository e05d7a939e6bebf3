"""Which technique to take within limits of memory and time, and how sure that is."""
