"""Pictures: a contact sheet of a dataset or a recipe, and a texture taken apart.

Figures are made without pyplot, so nothing global is set and no window opens; a notebook shows
them as the value of a cell.
"""

from gpgen.plots.files import check_picture, save
from gpgen.plots.sheets import components_figure, contact_sheet, recipe_sheet

__all__ = ["check_picture", "components_figure", "contact_sheet", "recipe_sheet", "save"]
