"""The providers: one port, one file per gateway, the registry, and the simulator that stands in for them."""
