"""Models of the user's own: any function that makes a segmenter."""
