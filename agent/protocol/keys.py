"""An SSH public key as the platform gives it, in instance metadata and in ovf-env.xml alike."""

from agent.record import record


@record
class PublicKey:
    """One SSH key, unchecked.

    `key_data` may hold line breaks and may be a PEM certificate; `path` is the file that the key
    belongs into. Either may be "".
    """

    key_data: str
    path: str
