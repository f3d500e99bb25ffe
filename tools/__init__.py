"""Tools for the checkout: install it, build llama.cpp, write tables into the documentation."""
