"""Survey designs: where an observation is worth most. The public functions are in `geonp.suggestion`."""
