"""Tell people what became of their work: by a chat, a webhook of theirs, or mail."""
