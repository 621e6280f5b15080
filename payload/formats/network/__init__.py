"""How systems configure their network cards: rules, .link, netplan, ifcfg, ifupdown and others."""
