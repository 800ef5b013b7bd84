"""The ground floor: nouns and pure functions. No files, no network, no processes."""
