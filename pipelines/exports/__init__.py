"""What other tools read of runs, versions and releases: documents, apart from what sends or writes them."""
