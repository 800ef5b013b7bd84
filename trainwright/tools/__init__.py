"""Fourth floor: instruments over whole runs and recipes."""
