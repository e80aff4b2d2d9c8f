"""How good predictions are, as numbers (scores)."""
