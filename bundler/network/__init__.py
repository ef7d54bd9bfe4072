"""How things are fetched: connections, addresses, pages, files, and the cache of them."""
