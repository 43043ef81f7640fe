"""What the operator chose (settings, logging, the gateways file), and child processes. It knows no other room."""
