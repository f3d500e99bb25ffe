"""Faults are injected under load, and every answer is checked."""
