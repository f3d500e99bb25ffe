"""Benchmarks; docs/benchmarks.md describes what they measure and lists the results."""
