"""Cascade Mask R-CNN (Cai, Vasconcelos 2017): three box heads, each begins where one has ended."""
