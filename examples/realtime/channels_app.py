"""Django Channels in one file: HTTP by Django, WebSockets by a consumer, groups between the two.

The groups live in the memory of one process: with several workers use a channel layer such as channels-redis.

Run it with:  hypercorn --workers 1 --app-dir examples/realtime channels_app:app
"""

from __future__ import annotations

from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    ROOT_URLCONF=__name__,
    SECRET_KEY="an example needs no secret",
)


class Room(AsyncJsonWebsocketConsumer):
    """Sends what anybody says to everybody in the room."""

    async def connect(self) -> None:
        self.room: str = self.scope["url_route"]["kwargs"]["room"]
        if self.room == "closed":
            await self.close()
            return
        await self.channel_layer.group_add(self.room, self.channel_name)
        chosen = "chat" if "chat" in self.scope["subprotocols"] else None
        await self.accept(chosen)
        await self.send_json({"joined": self.room})

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.room, self.channel_name)

    async def receive_json(self, content: Any, **options: Any) -> None:
        if content == "leave":
            await self.close(4001)
            return
        await self.channel_layer.group_send(self.room, {"type": "said", "content": content})

    async def said(self, event: dict[str, Any]) -> None:
        await self.send_json({"said": event["content"]})


async def say(request: HttpRequest, room: str, content: str) -> HttpResponse:
    layer = get_channel_layer()
    await layer.group_send(room, {"type": "said", "content": content})
    return HttpResponse("sent")


urlpatterns = [path("say/<str:room>/<str:content>", say)]
app = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter([path("rooms/<str:room>", Room.as_asgi())]),
    }
)
