"""The second pass: samples become records in a sink."""
