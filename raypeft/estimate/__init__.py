"""What a plan costs: memory, hours, disk, told from configurations alone."""
