"""From lessons to a page and notebooks: read the cells, run them, write what they showed."""
