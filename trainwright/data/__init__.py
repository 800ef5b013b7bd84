"""First floor: where records come from, how they are split, encoded once, kept and gathered."""
