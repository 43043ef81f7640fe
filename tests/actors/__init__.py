"""The actors one by one, on real stores and small real gateways."""
