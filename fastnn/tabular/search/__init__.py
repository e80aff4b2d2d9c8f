"""A search for recipes: `space` draws them at random, `trials` trains and keeps the best."""
