"""The live stream: one reader of the log, shared frames, and a bounded queue for every subscriber."""
