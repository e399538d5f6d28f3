"""Addresses, certificates and HTTP: what all sources beyond this machine share."""
