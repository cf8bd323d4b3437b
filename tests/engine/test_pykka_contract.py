"""What the engine relies on in Pykka. A release that takes something away fails here, by name."""

import inspect
from importlib.metadata import version
from typing import Any

import pykka
import pytest
from pykka import messages

# Hooks for implementors of new kinds of actor, methods called, and names that we stand in for.
RELIED_ON = {
    pykka.Actor: [
        "_create_actor_inbox",
        "_create_future",
        "_start_actor_loop",
        "_handle_receive",
        "actor_ref",
        "on_start",
        "on_stop",
        "on_failure",
        "on_receive",
        "start",
        "stop",
    ],
    pykka.ThreadingActor: ["_actor_loop", "_start_actor_loop", "use_daemon_thread"],
    pykka.ActorRef: ["is_alive", "tell", "ask", "stop", "proxy"],
    pykka.ActorRegistry: ["register", "unregister", "get_all", "get_by_urn", "stop_all"],
    pykka.Future: ["get", "set", "set_exception", "map", "filter", "reduce", "join"],
    messages: ["ProxyCall", "ProxyGetAttr", "ProxySetAttr"],
    pykka: ["ActorDeadError", "Timeout"],
}


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, names in RELIED_ON.items() for name in names]
)
def test_pykka_still_has_what_the_engine_relies_on(owner: Any, name: str) -> None:
    assert hasattr(owner, name), (
        f"Pykka {version('pykka')} has no {owner.__name__}.{name} any more; the engine relies on it"
    )


def test_a_proxy_still_finds_the_actor_by_the_name_that_we_provide() -> None:
    proxy: Any = pykka.ActorProxy
    source = inspect.getsource(proxy.__init__)

    assert "actor_ref._actor_weakref()" in source, "ActorProxy finds its actor in another way"
    assert "actor_ref.is_alive()" in source


def test_pykkas_constructor_still_sets_only_what_we_provide_ourselves() -> None:
    class Plain(pykka.ThreadingActor):
        pass

    provided = {"actor_urn", "actor_inbox", "actor_stopped", "_actor_ref"}

    assert set(vars(Plain())) == provided, (
        "Pykka's constructor sets other fields than the engine's actors provide"
    )


def test_an_actor_without_fields_still_has_no_dictionary_of_its_own() -> None:
    class Slotted(pykka.Actor):
        __slots__ = ("field",)

        def __init__(self) -> None:
            self.field = 1

        _create_actor_inbox = _create_future = staticmethod(lambda: None)  # type: ignore[assignment]

        def _start_actor_loop(self) -> None: ...

    assert vars(Slotted()) == {}
    assert Slotted.__basicsize__ <= 40, "pykka.Actor has grown fields in its instances"


def test_a_handler_of_proxy_messages_still_goes_by_attribute_path(system_free: Any) -> None:
    call = messages.ProxyCall(attr_path=("greet",), args=("you",), kwargs={})

    assert system_free._handle_receive(call) == "hello you"


@pytest.fixture
def system_free() -> Any:
    class Greeter(pykka.ThreadingActor):
        def greet(self, whom: str) -> str:
            return f"hello {whom}"

    return Greeter()
