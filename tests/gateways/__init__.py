"""Tests of the gateways: the contract that every adapter must keep, the transport under it, and the simulator."""
