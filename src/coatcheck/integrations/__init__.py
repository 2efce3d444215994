"""Where coatcheck is plugged in: a module for each framework, written against the public interface alone.

Importing this package imports none of them; each module needs its framework (extras of the same names).
"""
