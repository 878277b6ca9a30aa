"""Real Redis and MongoDB servers for the tests.

`install` installs what they need; `RedisServer` and `MongodbServer` start, stop, kill and pause a server of their own
on a free loopback port; `fixtures` provides them to pytest. Nothing here knows Slipway, or touches a server that the
machine already runs.
"""
