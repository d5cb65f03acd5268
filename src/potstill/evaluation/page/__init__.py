"""The pieces of a report: what is read from a run, and how it is drawn and written."""
