"""The mathematics of a texture: it knows no file and no recipe file."""
