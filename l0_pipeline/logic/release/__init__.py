"""What a release holds, as text and tables: manifest, dictionary, summary, digests."""
