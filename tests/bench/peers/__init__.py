"""What people would use instead of a stage, written as their documentation shows it."""
