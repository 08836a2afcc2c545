"""Access to the three git repositories, and the local clones of them."""
