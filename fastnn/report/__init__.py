"""A model on rows whose target is known: scores as numbers, drawings, one page of HTML.

    scores      how good predictions are, as numbers
    charts      drawings, as SVG
    page        all of it as one HTML file
"""
