"""The line to servers, by urllib3: what each side of the gap opens connections with that may open any.

Nothing else of `sealift` imports this, and of the installer `network` alone: the import contracts hold that.
"""
