"""A machine that proves the promises about files: every call fails in turn, and every power cut.

``python -m tests.faults`` runs a part of the cases, ``--full`` all of them.
"""
