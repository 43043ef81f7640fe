"""The HTTP API: Falcon resources over the actors and the store's queries. Knows no gateway and no settings."""
