"""Targets: one module here, or one entry point, is one kind; `installer.target` says what each offers."""
