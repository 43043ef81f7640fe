"""The processes around the application: gunicorn master and worker, connections, start and stop."""
