"""A cell's selected weights as a folder that others load without this package."""
