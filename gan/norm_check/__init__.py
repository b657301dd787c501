"""Properties that a discriminator normalization must have, checked on small layers and networks."""
