"""SHA-512 crypt against the known answers of its specification."""

import pytest

from agent.formats import sha512_crypt

# (rounds, salt, password, hash), from the specification by Ulrich Drepper.
KNOWN = [
    (
        5000,
        "saltstring",
        "Hello world!",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoE"
        "OfaS35inz1",
    ),
    (
        10000,
        "saltstringsaltstring",
        "Hello world!",
        "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vO"
        "uZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
    ),
    (
        1400,
        "anotherlongsaltstring",
        "a very much longer text to encrypt.  This one even stretches over morethan one line.",
        "$6$rounds=1400$anotherlongsalts$POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9"
        "t0oSwbtEW7o7UmJEiDwGqd8p4ur1",
    ),
    (
        77777,
        "short",
        "we have a short salt string but not a short password",
        "$6$rounds=77777$short$WuQyW2YR.hBNpjjRhpYD/ifIw05xdfeEyQoMxIXbkvr0gge1a1x3yRULJ5CCaUeOxFmt"
        "lcGZelFl5CxtgfiAc0",
    ),
]
HASH = KNOWN[0][3]


@pytest.mark.parametrize(("rounds", "salt", "password", "hashed"), KNOWN)
def test_known_answers(rounds: int, salt: str, password: str, hashed: str) -> None:
    assert sha512_crypt.sha512_crypt(password.encode(), salt, rounds) == hashed
    assert sha512_crypt.verifies(password.encode(), hashed)
    assert not sha512_crypt.verifies(password.encode() + b"x", hashed)


def test_the_default_rounds_may_be_spelled_out() -> None:
    assert sha512_crypt.verifies(b"Hello world!", HASH.replace("$6$", "$6$rounds=5000$"))


def test_an_empty_password_and_an_empty_salt_are_hashed() -> None:
    assert sha512_crypt.verifies(b"", sha512_crypt.sha512_crypt(b"", ""))


@pytest.mark.parametrize(
    "field",
    [
        "",
        "!",
        "*",
        "!" + HASH,
        HASH.replace("$6$", "$5$"),
        "$6$",
        "$6$saltstring",
        HASH[:-1],
        HASH + "$",
        HASH.replace("saltstring", "saltstrin\udcff"),
        HASH.replace("saltstring", "other"),
        HASH.replace("$6$", "$6$$"),
        HASH.replace("$6$", "$6$rounds=$"),
        HASH.replace("$6$", "$6$rounds=many$"),
        HASH.replace("$6$", "$6$loops=5000$"),
        HASH.replace("$6$", "$6$rounds=5000$rounds=5000$"),
        HASH.replace("$6$", "$6$rounds=-5000$"),
    ],
)
def test_any_other_field_does_not_verify(field: str) -> None:
    assert not sha512_crypt.verifies(b"Hello world!", field)


@pytest.mark.parametrize("rounds", [999, 100001, 9999999999])
def test_rounds_are_bounded(rounds: int) -> None:
    few = sha512_crypt.sha512_crypt(b"x", "salt", min(rounds, 999))
    assert not sha512_crypt.verifies(b"x", few.replace("rounds=999$", f"rounds={rounds}$"))


def test_a_salt_is_made_of_random_bytes() -> None:
    assert sha512_crypt.salt(bytes(range(16))) == "./0123456789ABCD"
    assert sha512_crypt.salt(bytes(range(240, 256))) == "klmnopqrstuvwxyz"
