"""What the demo compares the job's answers with: exact answers and their price in memory."""
