"""The uid of every operator: the name under which its state is found again; a uid is for ever."""

SOURCE = "source"
ENVELOPES = "envelopes"
EXPLODE = "explode"
WINDOWS = "windows"
RESULTS = "results"
LATE = "late"
REJECTS = "rejects"
