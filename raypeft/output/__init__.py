"""What leaves the program: files written atomically, lines on a terminal, numbers and texts as people read them."""
