"""The memory: candidates (test), releases (production), approvals. The lowest package: it has the records, and needs only the standard library."""
