"""What a person sees while a pipeline runs: a live view in a terminal, plain lines with a heartbeat elsewhere."""
