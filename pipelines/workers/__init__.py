"""Workers that use several packages of the project: they may import heavy modules, the controller may not."""
