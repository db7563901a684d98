"""The dataset of 2018 (Zenodo record 1252464): its generator, files, crosses and archive."""
