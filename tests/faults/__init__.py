"""What breaks, for real, and what everybody else sees of it."""
