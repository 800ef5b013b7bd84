"""Public data sets by name, each a factory that says which files it has and how they are read."""
