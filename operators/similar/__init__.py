"""Similar items: the nearest neighbours of an item, a text or a user's profile, for each event that asks."""
