"""Where runs and logs are kept: the archive on files (the truth), Redis (the tail), MongoDB (the history)."""
