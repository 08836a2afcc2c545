"""What `trainyard doctor` checks: one function per check, one table."""
