"""`trainyard batch` in the controller: what is read, where it is written, and what is already there. No row passes here."""
