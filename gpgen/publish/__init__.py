"""From a dataset to a citable record, and back."""
