"""Answers requests for one release: engines, the Flask app, gunicorn's settings, going live."""
