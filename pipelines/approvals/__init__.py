"""Approvals by people: tokens, signed texts, and the rule when there are enough of them."""
