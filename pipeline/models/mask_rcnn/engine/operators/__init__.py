"""The steps a GPU has kernels for, each beside its twin in torch."""
