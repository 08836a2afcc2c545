"""What a person sees while a pipeline runs."""
