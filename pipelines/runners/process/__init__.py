"""Workers as child processes of this machine."""
