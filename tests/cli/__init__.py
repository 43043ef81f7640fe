"""The operator's commands: what they say, what they ask of a service, and what scripts can rely on."""
