"""What Prometheus scrapes. The one place, with the route, that knows its client library."""
