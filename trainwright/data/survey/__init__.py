"""Questions to the records of a training, answered before its first step by plain numbers."""
