"""A believable community for demos, tests and measurements: a plan that follows from its seed, and what sends it."""
