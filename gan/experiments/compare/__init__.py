"""The `compare` command: train one recipe under several discriminator norms and seeds, and compare the scores."""
