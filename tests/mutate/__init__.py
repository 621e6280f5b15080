"""Does a unit test notice when one condition of the rule about overwriting is gone? `make mutate`.

`rule` names the code that the rule lives in, `mutants` makes the changes from its syntax tree,
`trial` runs the unit tests against each of them.
"""
