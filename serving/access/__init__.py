"""Who may ask the API: tokens, TLS, hosts, origins, rates, and on which address it may listen."""
