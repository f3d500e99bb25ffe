"""Who gets a worker: the queue, placement, circuit breaker, quarantine, quotas."""
