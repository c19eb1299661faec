"""Samples on their way in: checked, laid out for networks, standardized."""
