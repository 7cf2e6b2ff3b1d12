"""What this process knows the store to have acknowledged: if it holds less, it lost something."""

from streams.runtime.ports import Place


class FellBack(Exception):
    """The store lost what it had acknowledged: dossiers must be read again from the topics."""


class Acknowledged(dict[Place, int]):
    """How far the dossiers hold each topic, and as `CLAIMS` how many claims a partition took."""

    def note(self, place: Place, stored: int) -> None:
        """Note what is stored: it is never to be less."""
        self[place] = max(stored, self.get(place, 0))


def require_held(place: Place, known: int, stored: int) -> None:
    """Raise `FellBack` if less is stored than was known before it was asked for."""
    if stored < known:
        name = "{}[{}]".format(*place)
        raise FellBack(f"Redis holds {name} up to {stored}, it had acknowledged {known}")
