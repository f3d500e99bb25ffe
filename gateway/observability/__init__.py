"""What operators read: counters, the Prometheus exporter, and one log line per request."""
