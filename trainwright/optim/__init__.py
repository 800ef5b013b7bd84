"""First floor: losses, update rules and schedules."""
