"""What a worker gives up before it runs foreign code: network, files, privileges."""
