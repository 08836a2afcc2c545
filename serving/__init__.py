"""Answers requests for one release: engines, protocols, metrics, the Flask app, and the gunicorn server around it."""
