"""Classifiers under each normalization: the experiments of the MSN paper. `gan.classify.experiment` runs them."""
