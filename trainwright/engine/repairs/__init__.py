"""Changes of a model that somebody built, one file each; a recipe names those that were taken."""
