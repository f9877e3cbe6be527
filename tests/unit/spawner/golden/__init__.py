"""Files of what was once looked at and found good."""
