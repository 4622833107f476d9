"""Blend the members of a study and say honestly what the blend is worth."""
