"""Workers that need more than one room: they may import heavy packages, the controller may not."""
