"""The report: one self-contained HTML file over the ledger, the questions and the figures."""
