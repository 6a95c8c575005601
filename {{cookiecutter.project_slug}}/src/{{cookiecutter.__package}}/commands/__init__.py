"""The commands of each level above the first: COMMANDS of every module here are added to the command line."""
