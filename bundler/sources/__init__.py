"""Sources: one module here, or one entry point, is one kind; `bundler.source` says what each offers."""
