"""Buckets, as both sides speak of them: addresses, credentials, and what a store's client is asked to do.

Nothing here opens a socket: who does hands the library that does in.
"""
