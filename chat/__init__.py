"""A small terminal client."""
