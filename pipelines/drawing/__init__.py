"""Procedurally painted people with exact landmarks."""

from .scene import DrawnPerson, draw_person

__all__ = ["DrawnPerson", "draw_person"]
