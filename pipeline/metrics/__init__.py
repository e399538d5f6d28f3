"""What Prometheus sees: one table of names, and how counted things are rendered under them.

Nothing is counted here: streams count in `pipeline.accounting`, segment workers in
`pipeline.metrics.counts`; this package only names and renders their snapshots.
"""
