"""The actor runtime: mailboxes, routers, dispatchers, live and simulated."""
