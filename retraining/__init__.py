"""Whether retraining is worth it, and how to fine-tune a registered model: the policy and the worker."""
