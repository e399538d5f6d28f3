"""The command line, one verb a file; the only package that may import `workers`."""
