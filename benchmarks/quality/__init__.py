"""What the recipes that come with the package reach on public data, in how much time; one file here for each task."""
