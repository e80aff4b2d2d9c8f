"""A small network that learns, to be watched: what ``fastnn learn`` shows, as text or as a page.

problems       the points and digits to learn
experiments    training runs that note what is to be seen, and comparisons of settings
troubles       what goes wrong, one by one: how it looks, why, and the remedy
words          what is said of a run
pictures       drawings of all this, as SVG
terminal       as text, for a terminal
page           as an HTML page
"""

PROBLEMS = ("xor", "circles", "spirals", "digits")
COMPARISONS = ("learning-rate", "init", "activation", "hidden")
TROUBLES = (
    *("zero-weights", "saturation", "dead-relu", "large-rate", "unscaled"),
    "vanishing-gradient",
)
