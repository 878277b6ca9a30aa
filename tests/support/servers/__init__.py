"""Real Redis and MongoDB servers for the tests.

`install` brings what they need onto the machine; `RedisServer` and `MongodbServer` start, stop, kill and pause one of
their own on a free loopback port; `fixtures` hands them to pytest. Nothing here knows anything of Slipway, and nothing
here touches a server that the machine already runs.
"""
