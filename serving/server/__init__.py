"""The program around the app: gunicorn, its workers, and how it is started, asked and stopped."""
