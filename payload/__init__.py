"""UGS-Failover: makes a cold-standby copy of a Linux server with nobody at the keyboard.

Read `session/states.py` for the order of things and `docs/architecture.md` for the house.
"""

__version__ = "0.1.0"
