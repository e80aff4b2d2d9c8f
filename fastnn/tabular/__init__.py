"""Tables without a setting: ensembles of small networks, weighted, calibrated, in one file.

    data            rows and targets as people have them
    recipes         what networks are trained, how and how many: plain values
    folds           rows held out, fold by fold
    members         training of all members; predictions of rows that they have not seen
    search          random recipes, tried one after another, the best kept
    weighting       which members count how much
    calibration     probabilities that mean what they say
    conformal       intervals and sets of a given coverage, from what held-out rows were off by
    spread          how far off, row by row
    ensemble        what comes of it: encodes rows, averages members
    learning        all of these in their order
    api             scikit-learn's conventions
    estimators      TabularClassifier, TabularRegressor
    files           an estimator as one file
"""

from fastnn.tabular.estimators import TabularClassifier, TabularRegressor
from fastnn.tabular.recipes import Pack, Recipe, Search
from fastnn.tabular.search.trials import Trial

__all__ = ["Pack", "Recipe", "Search", "TabularClassifier", "TabularRegressor", "Trial"]
