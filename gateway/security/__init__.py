"""Access control: tokens, TLS, origins and host names, keys of remote workers."""
