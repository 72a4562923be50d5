"""The tools that are compared, each a process in an environment of its own."""
