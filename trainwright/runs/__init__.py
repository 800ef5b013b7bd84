"""Third floor: where tasks, models and the engine meet, once."""
