"""Files and databases: what is written to the home, and what of other people's files is read."""
