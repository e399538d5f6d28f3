"""YOLACT and YOLACT++: prototypes and coefficients; see `family`."""
