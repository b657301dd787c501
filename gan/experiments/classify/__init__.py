"""The `classify` command: the classifiers of the MSN paper under each normalization."""
