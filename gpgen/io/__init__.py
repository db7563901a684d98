"""Bytes on a disk or on an object store."""
