"""How a run is carried out on machines: Ray, processes and signals, temporary folders, the owner's lock, progress."""
