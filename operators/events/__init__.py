"""What an event is: its section of the pipeline file, its time, its derived columns and checks."""
