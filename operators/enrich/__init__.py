"""Each event out again, with what is known of its user and of the whole stream by then."""
