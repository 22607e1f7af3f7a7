"""Other tools on the same tasks, each in a virtual environment of its own; none is required."""
