"""Image sets: loading from folders, zips and named datasets, and batches."""
