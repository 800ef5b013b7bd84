"""Second floor: how to learn; the step, the loop, the state, the checkpoints."""
