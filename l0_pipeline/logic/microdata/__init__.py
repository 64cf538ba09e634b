"""Households, tax units and persons from each layout of microdata; ``schema`` is the door."""
