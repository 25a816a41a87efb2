"""A check of Host and Origin in front of Flink's REST interface, so that web pages cannot submit jobs."""
