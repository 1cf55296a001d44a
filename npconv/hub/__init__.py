"""Models by name: the catalogue of what has been published, the cache, the download."""
