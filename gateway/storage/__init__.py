"""Files and databases: the home's own, and what others wrote into the folders we read."""
