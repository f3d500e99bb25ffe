"""Is the embedded model what it says it is?"""
