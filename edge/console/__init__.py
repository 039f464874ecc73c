"""What people see on the network: the HTTP API, the status page, the server that carries them."""
