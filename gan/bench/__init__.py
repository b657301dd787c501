"""Speed and size of networks under each normalization."""
