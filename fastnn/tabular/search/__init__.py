"""What held-out rows decide before the ensemble is trained.

    scales        which numbers are learned as logarithms
    space trials  a search for recipes: drawn at random, trained, the best kept
"""
