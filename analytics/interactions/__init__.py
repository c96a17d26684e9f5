"""Sessions, response times and who waits for an answer, counted as events come."""
