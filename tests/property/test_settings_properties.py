"""/etc/azready.toml: taken as a whole, or refused with key and line."""

from hypothesis import given
from hypothesis import strategies as st

from agent.errors import UsageError
from agent.settings import SETTINGS, Config, parse

KEYS = [*(setting.name for setting in SETTINGS), "no.such", "deadlin"]

VALUE = st.one_of(
    st.booleans(),
    st.integers(-5, 100000),
    st.sampled_from(['"/bin/sh"', '"auto"', '["user"]', "[]", "1.5", '"http://127.0.0.1"', "{}"]),
)


@given(
    st.lists(st.tuples(st.sampled_from(KEYS), VALUE), max_size=4, unique_by=lambda pair: pair[0])
)
def test_settings_are_taken_as_a_whole_or_refused_with_key_and_line(
    pairs: list[tuple[str, object]],
) -> None:
    text = "".join(
        f"{key} = {str(value).lower() if isinstance(value, bool) else value}\n"
        for key, value in pairs
    )
    try:
        config = parse("f.toml", text.encode())
    except UsageError as error:
        number = str(error).partition("f.toml line ")[2].partition(":")[0]
        key = str(error).partition(": ")[2].split(" ")[0].rstrip(":")
        assert text.splitlines()[int(number) - 1].startswith(
            (key + " ", key.partition(".")[0] + ".")
        )
        return
    assert isinstance(config, Config)


@given(st.binary(max_size=100))
def test_junk_is_an_error_that_names_the_file(data: bytes) -> None:
    try:
        parse("f.toml", data)
    except UsageError as error:
        assert str(error).startswith("f.toml")
