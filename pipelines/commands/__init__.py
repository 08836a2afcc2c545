"""The sub-commands of `trainyard`, one module each; imported when asked for."""
