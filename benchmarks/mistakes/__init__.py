"""The same planted mistakes in several systems: which of them says something, names it, stops, repairs it."""
