"""What each system's client sends, replayed request by request, and what its user must find at the end."""
