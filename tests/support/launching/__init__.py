"""The real launcher, as a process of its own, for tests to start, call, stop and kill."""
