"""Tests of the operator's commands: output, requests to a service, and exit statuses."""
