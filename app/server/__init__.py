"""How a request reaches the app: gunicorn's worker, the callers' connections, Flask on threads."""
