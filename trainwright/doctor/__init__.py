"""Second floor: pure rules over evidence."""
