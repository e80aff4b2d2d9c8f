"""What rows that networks have not seen tell of them.

    weighting    which are worth how much
    calibration  how sure they may be
    conformal    how far off they are: intervals and sets
    spread       where they are further off than elsewhere
    rating       how good they are
"""
