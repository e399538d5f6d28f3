"""CondInst: a small network of its own for every instance; see `family`."""
