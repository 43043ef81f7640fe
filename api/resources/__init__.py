"""The resources: one responder per operation, with its OpenAPI description beside it."""
