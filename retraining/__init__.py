"""Is retraining worth it, and how to go on from a registered model: the policy and the worker."""
