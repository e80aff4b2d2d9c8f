RATES: dict[str, float]
