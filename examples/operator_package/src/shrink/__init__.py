"""What does this example package add to mezzotint? The operator ``shrink::soft_threshold``."""
