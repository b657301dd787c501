"""Scores of generated images: feature extractors, and metrics on features"""
