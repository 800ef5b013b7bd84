"""How fast each system trains the same network on the same data, side by side."""
