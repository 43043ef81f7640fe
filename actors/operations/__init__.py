"""One file per operation: what one kind of request does to a customer's stream."""
