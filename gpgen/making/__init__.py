"""From a source of images to a finished dataset."""
