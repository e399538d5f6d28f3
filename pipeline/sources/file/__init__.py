"""Video files: every frame counts."""
