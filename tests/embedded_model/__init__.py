"""Tests of the embedded model and of the shipped personalities."""
