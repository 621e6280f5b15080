"""Boot sectors, the cores and menus of boot loaders, EFI programs."""
