"""Where images and programs are read from, and thumbnails made of them."""
