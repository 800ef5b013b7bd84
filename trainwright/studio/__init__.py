"""The studio: a local web page on which runs are watched; it reads run folders and never touches a training."""
