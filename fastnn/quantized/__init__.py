"""Networks in 8 bits: weights, their file, a predictor of them and its report."""
