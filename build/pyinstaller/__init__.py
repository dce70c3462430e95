"""The main freezer.

freeze.py runs with the tools of the build; azready.spec, link.py and boot.py run without them,
under the pinned CPython.
"""
