"""What does Pebble read? Text that this package generates, the same for the same seed."""
