"""The `compare` command: one recipe under several discriminator normalizations and seeds, and what came of it."""
