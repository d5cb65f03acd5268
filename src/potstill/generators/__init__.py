"""New problems: the search over instructions, and what it is compared with."""
