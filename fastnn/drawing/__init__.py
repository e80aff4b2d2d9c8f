"""Pages and drawings that need nothing else: HTML and SVG in light and dark, on any screen.

page      the frame and style of a page, its tables and figures
charts    curves and dots over axes
formula   formulas as MathML, their letters replaced by numbers
"""
