"""`make run`: supervisor, gateway and workers in the foreground, as one program."""
