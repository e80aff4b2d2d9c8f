"""Pages and drawings that need nothing else: HTML and SVG in light and dark, on any screen.

palette   their colours, the only place
page      the frame and style of a page, its tables and figures
charts    curves and dots over axes
formula   formulas as MathML, their letters replaced by numbers
walk      what pages to be walked through have in common
card      a few of these parts in a notebook, beside whatever else stands there
curves    the epochs of a fit as such a card
"""
