"""The zoo of personalities, one personality, and the prompt it makes."""
