"""The mini-cluster on this machine: Java, ports, the job, its REST interface, its checkpoints."""
