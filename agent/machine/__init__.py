"""Facts of this machine: identity (DMI), optical media, links and routes. Talks to nobody."""
