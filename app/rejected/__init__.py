"""Looking at what was rejected, and trying it again after a fix."""
