"""`modelyard` and `kubectl modelyard`: a registry's history, its versions and promotions, at a terminal."""
