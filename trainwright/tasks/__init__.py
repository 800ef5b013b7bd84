"""Second floor: problems, one file each; they know neither the engine, nor the models, nor each other."""
