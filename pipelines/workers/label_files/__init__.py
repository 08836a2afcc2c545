"""Labelled answers as files of a dataset repository, in its own format."""
