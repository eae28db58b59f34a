"""Read source files (images, programs) from the media store; make thumbnails."""
