"""The HTTP faces over the log and its projections."""
