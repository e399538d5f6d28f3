"""The fast forward of Mask R-CNN: one idea a file, `engine.py` joins them."""
