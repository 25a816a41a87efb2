"""All that talks to Kafka from Python: topics, producing, and what stands in the way of either.

The job itself reads and writes through Flink's connector; this package serves the commands around it.
"""

import logging

# What goes wrong reaches the user as one KafkaProblem. The client's own log would come on top of that, and
# at its debug level it holds the passwords it sends.
logging.getLogger("kafka").setLevel(logging.CRITICAL + 1)
