"""Worker processes: start, stop and post-mortem, through supervisor."""
