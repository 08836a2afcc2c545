"""Keys of the WSGI environment under which serving.middleware leaves what others need to know about a request."""

REQUEST_ID = "trainyard.request_id"
RELEASE = "trainyard.release"
VERSION = "trainyard.version"
ERROR = "trainyard.error"
"""The exception because of which there is no prediction, or no such page."""
CLIENT = "trainyard.client"
"""The name of the token with which it was asked; empty: none was needed."""
