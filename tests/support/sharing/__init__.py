"""A simulation of sharing: the real queue, fleet and policy, and played workers and clients."""
