"""Where a run keeps what survives it, and whose that place is while it lives.

`disk` says what such a place can do and does it on the disks of this machine; `tenure` says which
driver has it, `lease` takes it for one.
"""
