"""Installation, the llama.cpp build, and the generated tables of the documentation."""
