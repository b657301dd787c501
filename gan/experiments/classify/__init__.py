"""The `classify` command: train the classifiers of the MSN paper under several norms."""
