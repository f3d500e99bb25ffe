"""The sandbox: a worker gives up network, files and privileges before it runs foreign code."""
