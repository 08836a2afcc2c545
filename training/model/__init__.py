"""The contract of a team's code, and the model that comes of it: signature, file, export."""
