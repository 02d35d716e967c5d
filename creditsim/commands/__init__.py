"""The command line's commands: one module each, imported when used."""
