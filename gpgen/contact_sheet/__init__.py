"""Contact sheets: what they show, and one as a grey PNG. `gpgen.plots` draws them in colour."""
