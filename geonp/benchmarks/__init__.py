"""The papers' experiments, repeated: what is run, how it is scored, and the table it ends in.

One benchmark a file; each takes data as arrays and returns a `Result`. Where the data come from, and where the
result goes, is the command's to say (`geonp benchmark`).
"""
