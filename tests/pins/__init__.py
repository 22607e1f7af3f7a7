"""What example models compile to, pinned: a change of any plan shows, and is accepted on purpose.

python -m tests.pins              # what differs, and how
python -m tests.pins --accept     # the plans of today become those that are pinned
"""
