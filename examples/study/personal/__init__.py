"""Personal heads: learned from one user's encrypted windows, on a server that sees none of them.

`split` says what is learned from and what is tested, `head` holds the modules that are compiled,
`learning` prepares a general model and runs the steps in the clear, `encrypted` runs them under
encryption, `folds` does both for one held-out subject, `report` and `plots` show what was found.
"""
