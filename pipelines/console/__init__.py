"""`trainyard console`: web pages over the registry, runs, monitor and labels of all models, for people with a browser."""
