"""One file a system: a plan as its own documentation would write it."""
