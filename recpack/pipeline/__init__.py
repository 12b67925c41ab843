"""The functions behind the commands: they call the rooms in order."""
