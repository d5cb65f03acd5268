"""The verbs of the command line, each a parse and one library call."""
