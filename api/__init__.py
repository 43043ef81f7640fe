"""The HTTP API: Falcon resources over the actors and the store's queries. Independent of gateways and settings."""
