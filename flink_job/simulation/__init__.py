"""Simulated events that anyone can make again, byte for byte."""
