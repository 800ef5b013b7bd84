"""First floor: what may be told every event of a training, by name in a recipe."""
