"""First floor: numbers that judge predictions."""
