"""Figures and reports about completed fields."""
