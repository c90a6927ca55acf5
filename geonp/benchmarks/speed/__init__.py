"""Growth measured: seconds and memory against pixels, observations and bands, of geonp and of its peers.

Every measurement is a process of its own (`worker`) that reads a survey and writes a mean and, where the method has
one, a variance, both GeoTIFF; what was written is then scored. `suite` chooses sizes for a budget of time, `record`
is what is kept, `tell` makes tables and figures of it, `against` compares it with what was kept.
"""
