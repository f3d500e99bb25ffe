"""Keeps the clients; never loads, computes or runs foreign code."""
