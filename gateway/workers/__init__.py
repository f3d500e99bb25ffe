"""Live workers: the fleet, the ZeroMQ link, the handshake, health checks."""
