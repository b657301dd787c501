"""Speed and size of networks under each normalization: `timing` measures, `results` says what it means."""
