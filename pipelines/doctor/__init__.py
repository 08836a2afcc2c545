"""What `trainyard doctor` checks, one function per question."""
