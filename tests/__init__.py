"""unit, contract, integration, system: see CONTRIBUTING."""
