"""What may be wrong with a training: rules over evidence, one file each, and the diagnosis that they make together."""
