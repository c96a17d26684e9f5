"""Pure steps: what the router decides about one event, from the event alone."""
