"""The resources: one responder per operation, each with its description for OpenAPI beside it."""
