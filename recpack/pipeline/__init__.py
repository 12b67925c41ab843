"""The compositions behind the commands: a room's work after the other's."""
