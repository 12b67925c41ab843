"""A machine that proves the promises about files: every call fails in turn, and every power cut.

``python -m tests.faults local`` runs a part of the cases, ``--full`` all of them.
"""
