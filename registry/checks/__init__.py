"""What `registry.verify` checks: rules about one model's versions and releases, each problem with the file that it is about."""
