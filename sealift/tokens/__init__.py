"""Deflate streams as tokens: only the Huffman coding is undone, so any stream comes back without its encoder."""
