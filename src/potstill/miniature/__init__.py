"""The embedded default: a procedural world, a procedural teacher and a tiny pretrained student.

A miniature: a functional test of the methods, not evidence for the papers.
"""
