"""Work with ``.rec`` files: read, write, compare, merge, unpack."""
