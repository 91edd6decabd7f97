"""Those who wait for a change: told as soon as something changes in what they see, whoever changed it.

A body that waits has a method `pull` and costs a server that knows it by that no thread: such a server watches the
descriptor of its `source`, looks when it is readable, and asks the bodies that the look gives. For any other server
the body is an iterable of bytes that does the waiting itself.

What a listener is told was committed before, so every request that follows can see it. Who waits joins first and is
asked then, so nothing that happens in between is missed.
"""

import abc
import contextlib
import threading
import time
from collections.abc import Iterable, Iterator

from baludav.accounts.accounts import Principal
from baludav.accounts.signin import SignIn
from baludav.db.bell import Listening
from baludav.db.engine import Database
from baludav.errors import Failure, TooManyListeners, Unavailable
from baludav.limits.turns import Turns
from baludav.tree.records.news import News, Seen
from baludav.tree.tree import Tree, UserTree

_RETRY_SECONDS = 30
_ALL = 0  # the row of `turns` in which all count; a user's is the id


class Audience:
    """Everybody who listens with the same account, unchanged since they signed in.

    Attributes:
        token: the moment of the last change that they can see.
        told: the moment that they were called for last.
        is_over: the account was changed; who wants to go on listening has to sign in again.
    """

    def __init__(self, user: UserTree) -> None:
        self.user = user
        self.members: set[Waiting] = set()
        self.is_over = False
        self.token, self._roots = user.now()
        self.told = self.token

    @property
    def principal(self) -> Principal:
        return self.user.principal

    @property
    def key(self) -> tuple[int, int]:
        """Account and revision."""
        return self.principal.id, self.principal.revision

    def refresh(self) -> None:
        """Look at everything anew."""
        with contextlib.suppress(Failure):  # a home that is gone, an index that does not answer: it may be back soon
            self.token, self._roots = self.user.now()

    def hear(self, seen: Seen) -> None:
        """Go on to what was seen."""
        if seen.roots_changed:
            self.refresh()
        number = max((seen.numbers[root] for root in self._roots.intersection(seen.numbers)), default=0)
        if number > self.token.number:
            self.token = self.token._replace(number=number)


class Listeners:
    """All who wait in one process; the source of their bodies.

    Args:
        turns: counts who waits, in all processes.
        most, most_of_a_user: who may wait at a time.
        heartbeat: seconds without an event after which a listener is told that there is none.
    """

    def __init__(
        self, database: Database, tree: Tree, sign_in: SignIn, turns: Turns, *, most: int, most_of_a_user: int,
        heartbeat: float = 15.0,
    ) -> None:  # fmt: skip
        self.heartbeat = heartbeat
        self._database = database
        self._tree = tree
        self._sign_in = sign_in
        self._most = most
        self._most_of_a_user = most_of_a_user
        self._news = News(database)
        self._audiences: dict[tuple[int, int], Audience] = {}
        self._turns = turns
        self._listening: Listening | None = None
        self._lock = threading.Lock()  # one looks at a time, so that no token goes back

    def join(self, body: "Waiting", principal: Principal) -> Audience:
        """Count a body among those who wait until it leaves. Its audience then knows what was committed before.

        Raises:
            TooManyListeners, Unavailable: nobody else can wait.
        """
        with self._lock:
            self._count(principal.id)
            try:
                audience = self._audience_of(principal)
            except BaseException:
                self._uncount(principal.id)
                raise
            audience.members.add(body)
        return audience

    def leave(self, body: "Waiting", audience: Audience) -> None:
        """The body waits no longer. Safe to repeat."""
        with self._lock:
            if body in audience.members:
                audience.members.remove(body)
                self._uncount(audience.principal.id)
                if not audience.members:
                    del self._audiences[audience.key]

    def check(self, audience: Audience) -> None:
        """Before somebody is told that nothing happened: is that so, and is the account as it was?"""
        with self._lock:
            self._check_account(audience)
            audience.refresh()

    def listen(self) -> Listening:
        """Hear of everything that is committed; for one who waits by itself."""
        return self._database.listen()

    def fileno(self) -> int:
        """A descriptor that is readable when something was committed."""
        with self._lock:
            return self._open().fileno()

    def look(self) -> "list[Waiting]":
        """Find out what was committed; gives those who are to be told."""
        found: list[Waiting] = []
        if self._listening is not None:
            self._listening.take()
        with self._lock:
            seen = self._news.look()
            for audience in self._audiences.values():
                audience.hear(seen)
                if audience.token != audience.told and self._check_account(audience):
                    audience.told = audience.token
                    found += audience.members
        return found

    def close(self) -> None:
        if self._listening is not None:
            self._listening.close()
            self._listening = None

    def _count(self, user_id: int) -> None:
        if not self._turns.enter(user_id, self._most_of_a_user):
            raise TooManyListeners(_RETRY_SECONDS).at("listeners")
        if not self._turns.enter(_ALL, self._most):
            self._turns.leave(user_id)
            told = "As many clients wait for changes as this server takes; try again later"
            raise Unavailable(told).at("listeners_total")

    def _uncount(self, user_id: int) -> None:
        self._turns.leave(user_id)
        self._turns.leave(_ALL)

    def _audience_of(self, principal: Principal) -> Audience:
        if not self._audiences:
            self._open()
            self._news.skip()  # while nobody waited, nobody looked
        audience = self._audiences.get((principal.id, principal.revision))
        if audience is None:
            audience = Audience(self._tree.of(principal))
            self._audiences[audience.key] = audience
        else:
            audience.refresh()
        return audience

    def _open(self) -> Listening:
        """What is committed from now on is heard."""
        if self._listening is None:
            self._listening = self.listen()
        return self._listening

    def _check_account(self, audience: Audience) -> bool:
        """See whether the account is as it was; False if the index does not tell now."""
        try:
            audience.is_over = audience.is_over or not self._sign_in.still_holds(audience.principal)
        except Unavailable:
            return False
        return True


class Waiting(abc.ABC):
    """A WSGI body that waits.

    Attributes:
        due: monotonic time at which it wants to be asked, whatever happens.
        is_over: it was asked to wait no longer.
    """

    def __init__(self, source: Listeners, principal: Principal, seconds: float) -> None:
        self.source = source
        self.due = time.monotonic() + seconds
        self.is_over = False
        self.audience = source.join(self, principal)

    @abc.abstractmethod
    def pull(self, now: float) -> bytes | None:
        """What its client shall get now, maybe nothing; None: it waits no longer, iterate the rest."""

    def rest(self) -> Iterable[bytes]:
        """What comes after the waiting."""
        return ()

    def stop(self) -> None:
        """Wait no longer."""
        self.is_over = True

    def close(self) -> None:
        """The answer was sent, or will never be."""
        self.source.leave(self, self.audience)

    def __iter__(self) -> Iterator[bytes]:
        with contextlib.ExitStack() as stack:
            listening = None
            while (piece := self.pull(time.monotonic())) is not None:
                if piece:
                    yield piece
                    continue
                if listening is None:
                    listening = stack.enter_context(contextlib.closing(self.source.listen()))
                else:
                    listening.wait(self.due - time.monotonic())
                self.source.look()
        yield from self.rest()
