"""What the doctor is measured on: programs that other people wrote, healthy ones of our own, and planted faults."""
