"""Operations as methods: the same definition answers `R` on `Client` and a coroutine of `R` on `AsyncClient`."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from kqi.client.steps import Steps, Stream

Params = ParamSpec("Params")
Result = TypeVar("Result")


class Blocking:
    """Marks groups of `Client`."""


class Awaiting:
    """Marks groups of `AsyncClient`."""


Mode = TypeVar("Mode")


class Driver(Protocol):
    """Acts for operations; `run` answers the result or a coroutine of it, `each` an iterator of either kind."""

    def run(self, steps: Steps[Any]) -> Any: ...
    def each(self, stream: Stream[Any]) -> Any: ...


class Group(Generic[Mode]):
    """Operations on one kind of thing."""

    def __init__(self, driver: Driver, tenant: str | None) -> None:
        self._driver = driver
        self._tenant = tenant


class operation(Generic[Params, Result]):
    """A method that sends requests and returns one result."""

    def __init__(self, write: Callable[Concatenate[Any, Params], Steps[Result]]) -> None:
        self.write = write
        update_wrapper(self, write)  # type: ignore[arg-type]

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Group[Blocking], owner: type) -> Callable[Params, Result]: ...
    @overload
    def __get__(self, group: Group[Awaiting], owner: type) -> Callable[Params, Coroutine[Any, Any, Result]]: ...
    def __get__(self, group: Group[Any] | None, owner: type) -> Any:
        if group is None:
            return self

        def call(*args: Params.args, **kwargs: Params.kwargs) -> Any:
            return group._driver.run(self.write(group, *args, **kwargs))

        return update_wrapper(call, self.write)


class stream(Generic[Params, Result]):
    """A method that returns an iterator, which sends requests while it is read."""

    def __init__(self, write: Callable[Concatenate[Any, Params], Stream[Result]]) -> None:
        self.write = write
        update_wrapper(self, write)  # type: ignore[arg-type]

    @overload
    def __get__(self, group: None, owner: type) -> Self: ...
    @overload
    def __get__(self, group: Group[Blocking], owner: type) -> Callable[Params, Iterator[Result]]: ...
    @overload
    def __get__(self, group: Group[Awaiting], owner: type) -> Callable[Params, AsyncIterator[Result]]: ...
    def __get__(self, group: Group[Any] | None, owner: type) -> Any:
        if group is None:
            return self

        def call(*args: Params.args, **kwargs: Params.kwargs) -> Any:
            return group._driver.each(self.write(group, *args, **kwargs))

        return update_wrapper(call, self.write)
