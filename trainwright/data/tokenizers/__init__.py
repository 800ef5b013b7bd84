"""The tokenizers; each file here is found by itself."""
