"""The inside of a network for a person: a step of it as plain data, and the arithmetic that made each number."""
