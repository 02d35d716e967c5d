"""Claims of papers as tests that can fail, and the ledger that runs them."""
