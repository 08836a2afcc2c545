"""What is given away with a version, and runs where there is no Trainyard."""
