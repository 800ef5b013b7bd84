"""The inside of a network: one step of it, every number kept, and the arithmetic that made each."""
