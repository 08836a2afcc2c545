"""The three git repositories, and the local copies they are read from."""
