"""Pictures with results drawn on them.

`overlay.annotate` draws, `pictures.make_picture` makes what draws only if somebody asks,
`sheet.contact_sheet` puts many pictures on one. All of it needs OpenCV, which is why nothing is
imported here.
"""
