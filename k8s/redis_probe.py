"""Connects to REDIS_URL from inside a pod, as launcher and operator will. check-redis.sh runs it there."""

from __future__ import annotations

import os
import socket
import sys

import redis

SECONDS = 5.0


def main() -> str | None:
    """Return what is wrong, or None."""
    client = redis.Redis.from_url(os.environ["REDIS_URL"], socket_connect_timeout=SECONDS, socket_timeout=SECONDS)
    options = client.connection_pool.connection_kwargs
    host, port, database = (options.get(name, default) for name, default in (("host", ""), ("port", 6379), ("db", 0)))
    try:
        addresses = sorted({str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except OSError:
        return f"{host} does not resolve in a pod. Use an address: pods do not know the names of Docker containers"
    where = f"{host}:{port}" if addresses == [host] else f"{host}:{port} ({', '.join(addresses)})"
    try:
        client.ping()
    except redis.AuthenticationError as error:
        return f"Redis at {where} rejected the user name or password: {error}"
    except redis.ResponseError as error:
        return f"Redis at {where} refused database {database}: {error}"
    except redis.RedisError as error:
        return f"no response from Redis at {where}: {error}"
    print(f"Redis responds at {where}, database {database}")
    return None


if __name__ == "__main__":
    sys.exit(main())
