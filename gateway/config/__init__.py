"""Settings: one table, read from flags, environment and config file, and checked."""
