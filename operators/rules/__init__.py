"""Rules over events and results, what they know of an entity's past, and the alerts they raise."""
