"""What administrators do: people, their sessions, suspension, handing over, deletion, applications, the audit log."""
