"""How long a newcomer waits for its first chunk beside clients that take all they can get."""
