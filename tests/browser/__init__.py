"""A headless Chromium for tests of pages, from the npm registry: no package of the system."""
