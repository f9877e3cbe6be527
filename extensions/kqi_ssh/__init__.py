"""SSH gateway to user servers."""
