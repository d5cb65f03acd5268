"""The review page: people read, search, accept, reject, edit and compare what a run holds; served on loopback only."""
