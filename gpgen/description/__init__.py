"""What a dataset says about itself, for records, cards and reports."""
