"""Public data sets: where they come from, under which licence, and how to read them."""
