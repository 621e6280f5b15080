"""What is decided: roles, what may be overwritten, the plan, the account. Values in, values out."""
