"""Chaos benchmark: injects faults under load and checks every answer."""
