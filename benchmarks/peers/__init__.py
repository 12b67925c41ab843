"""Other packers, each run by the Python of an environment of its own; see ``environments``.

``python benchmarks/peers/NAME_.py LIST ROOT OUT PROCESSES`` packs the images of a ``.lst`` as they
are, with their labels, in the way that the packer's own documentation shows as its fastest.
"""
