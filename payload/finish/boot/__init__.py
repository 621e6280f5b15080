"""Boot loaders of a copy: checked, installed anew, registered, and started once as a proof."""
