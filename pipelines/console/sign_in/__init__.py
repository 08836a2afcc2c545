"""The ways to sign in: a password, a trusted proxy's header, OpenID Connect, the link of a mail."""
