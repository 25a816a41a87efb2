"""A simulated shop: events that anyone can make again, byte for byte."""
