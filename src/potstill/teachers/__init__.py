"""The boundary to models: teachers behind one protocol, and the ledger of what was bought from them."""
