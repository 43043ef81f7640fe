"""Configuration: settings, the gateways file, and logging. It imports no other package of the service."""
