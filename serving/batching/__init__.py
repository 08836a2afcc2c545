"""Small requests that are there at the same time go through the model together, where the model gains by it."""
