"""Strawberry GraphQL: queries over HTTP, subscriptions over WebSocket.

Run it with:  hypercorn --app-dir examples/realtime strawberry_app:app
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import strawberry
from strawberry.asgi import GraphQL


@strawberry.type
class Query:
    @strawberry.field
    def greeting(self, name: str) -> str:
        return f"hello {name}"


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int) -> AsyncGenerator[int, None]:
        for number in range(to):
            yield number
            await asyncio.sleep(0)


app = GraphQL(strawberry.Schema(Query, subscription=Subscription))
