"""The main freezer. azready.spec, link.py and boot.py run elsewhere than freeze.py: under the pinned CPython, without the tools of the build."""
