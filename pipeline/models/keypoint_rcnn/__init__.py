"""Keypoint R-CNN (He et al. 2017): people and 17 points of each, instead of masks."""
