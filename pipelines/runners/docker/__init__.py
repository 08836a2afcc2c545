"""Workers in containers of a Docker engine."""
