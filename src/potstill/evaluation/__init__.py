"""Problems from files and data sets; scores, intervals, tests and the report."""
