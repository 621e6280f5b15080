"""Everything a release has to pass, each part until it passed for these very inputs once:
`make release-check`.

`steps` says what there is, `planning` what is left to be run, `inputs` what a verdict is kept for.
"""
