"""The isolated side: from a bundle to a verified, deployed release. Signs nothing."""
