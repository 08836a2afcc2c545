"""The memory: candidates (test), releases (production), approvals. The lowest room; it owns the nouns and needs only the standard library."""
