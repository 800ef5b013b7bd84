"""First floor: networks, one file each, found because this folder is the registry."""
